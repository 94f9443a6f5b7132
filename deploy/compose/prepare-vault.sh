#!/bin/sh
# In the demonstration's vault: settings for the app, a policy that reads just these, and the role
# that the agent logs in as. Its credentials go to /credentials, for the agent's user alone.
set -eu
bao kv put secret/app/settings label=one password=first-password
bao policy write app - <<'POLICY'
path "secret/data/app/*" { capabilities = ["read"] }
POLICY
bao auth enable approle
bao write auth/approle/role/app token_policies=app token_ttl=1h
umask 077
bao read -field=role_id auth/approle/role/app/role-id >/credentials/role-id
bao write -f -field=secret_id auth/approle/role/app/secret-id >/credentials/secret-id
chown 10001:10001 /credentials/role-id /credentials/secret-id
