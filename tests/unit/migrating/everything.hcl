# Each directive that has a counterpart, once: the test holds that each is taken.
log_level = "warn"
log_format = "json"

vault {
  address = "https://vault.example:8200"
  ca_cert = "/etc/ca.pem"
  client_cert = "/etc/client.pem"
  client_key = "/etc/client.key"
  tls_server_name = "vault.example"
  namespace = "team"
}

auto_auth {
  method {
    type = "approle"
    mount_path = "auth/machines"
    namespace = "team"
    config = {
      role_id_file_path = "/etc/role-id"
      secret_id_file_path = "/etc/secret-id"
      remove_secret_id_file_after_reading = false
      secret_id_response_wrapping_path = "auth/machines/role/app/secret-id"
    }
  }
}

template {
  source = "everything.tmpl"
  destination = "/run/app/one"
  perms = "0600"
  user = "app"
  group = "app"
  command = "systemctl reload app"
  command_timeout = "10s"
  left_delimiter = "{{"
  right_delimiter = "}}"
  wait { min = "3s" }
}

template {
  contents = "{{ with secret \"secret/data/app\" }}{{ .Data.data.word }}{{ end }}"
  destination = "/run/app/two"
  uid = 1000
  gid = 1000
  exec {
    command = ["/usr/bin/true", "x"]
    timeout = "5s"
  }
}

template_config {
  static_secret_render_interval = "2m"
  max_connections_per_host = 7
  lease_renewal_threshold = 0.8
}

env_template "WORD" {
  contents = "[[ with secret \"secret/data/app\" ]][[ .Data.data.word ]][[ end ]]"
  left_delimiter = "[["
  right_delimiter = "]]"
}

env_template "OTHER" {
  source = "everything.tmpl"
}

exec {
  command = ["/usr/bin/app", "--serve"]
  restart_on_secret_changes = "never"
  restart_stop_signal = "SIGINT"
}

cache {
  persist "kubernetes" {
    type = "kubernetes"
    path = "/var/lib/app"
  }
}

listener "unix" {
  type = "unix"
  address = "/run/app.sock"
  socket_mode = "0660"
  socket_user = "app"
  socket_group = "app"
  tls_disable = true
}

listener "tcp" {
  address = "127.0.0.1:9100"
  role = "metrics_only"
}

telemetry {
  prometheus_retention_time = "30s"
}
