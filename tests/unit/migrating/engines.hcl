# Dynamic secrets: two programs get two credentials, of one shape.
vault { address = "@ADDRESS@" }
exit_after_auth = true

auto_auth {
  method {
    type       = "approle"
    mount_path = "auth/@MOUNT@"
    config {
      role_id_file_path                   = "@FOLDER@/role-id"
      secret_id_file_path                 = "@FOLDER@/secret-id"
      remove_secret_id_file_after_reading = false
    }
  }
}

template {
  contents    = "{{ with secret \"@DATABASE@\" }}{{ .Data.username }}:{{ .Data.password }}{{ end }}"
  destination = "@OUT@/db/login"
}

template {
  destination = "@OUT@/tls/tls.pem"
  perms       = "0600"
  contents    = <<EOT
{{ with secret "@PKI@/issue/web" "common_name=app.example" "ttl=1h" }}{{ .Data.certificate }}
{{ range .Data.ca_chain }}{{ . }}
{{ end }}{{ .Data.private_key }}
{{ .Data.issuing_ca }}{{ end }}
EOT
}

template {
  destination = "@OUT@/tls/pair.pem"
  contents    = <<EOT
{{ with pkiCert "@PKI@/issue/web" "common_name=other.app.example" "ttl=1h" }}{{ .Cert }}{{ .CA }}{{ .Key }}{{ end }}
EOT
}
