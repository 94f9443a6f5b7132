# One of three servers that are one vault. What has a dollar sign differs from host to host: its
# name, its addresses, where its data is. `python -m deploy.raft` fills it in for three on one machine.

api_addr     = "http://$host:$port"          # https:// on real hosts: where clients are pointed to
cluster_addr = "http://$host:$cluster_port"  # between servers; always TLS, by keys of their own

listener "tcp" {
  address         = "$host:$port"
  cluster_address = "$host:$cluster_port"
  tls_disable     = true                     # loopback only; on real hosts instead:
  # tls_cert_file = "/etc/openbao/tls/$name.pem"   # valid for the balancer's name as well
  # tls_key_file  = "/etc/openbao/tls/$name.key"
}

storage "raft" {
  path    = "$data"
  node_id = "$name"

  performance_multiplier = "1"               # a leader is missed after one or two seconds, not ten

  autopilot_update_interval    = "1s"        # one that joins has a vote within seconds
  autopilot_reconcile_interval = "1s"

  # All three stand in each file; the server itself among them does no harm.
  retry_join { leader_api_addr = "$one" }    # and leader_ca_cert_file with TLS
  retry_join { leader_api_addr = "$two" }
  retry_join { leader_api_addr = "$three" }
}
