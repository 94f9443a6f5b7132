# All that the agent of the example needs beyond the default policy.
path "secret/data/app" { capabilities = ["read"] }
path "sys/leases/revoke" { capabilities = ["update"] }
