# All that the agent of this demo may do, besides what the policy "default" lets everybody do
# (look at its own token and renew it, find a mount's version, renew a lease).

path "secret/data/greeting" {
  capabilities = ["read"]
}

path "database/creds/app" {
  capabilities = ["read"]
}

# Without this, an old database role would live until its time is up or the agent ends.
path "sys/leases/revoke" {
  capabilities = ["update"]
}
