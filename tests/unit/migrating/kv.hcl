# What templates do with KV secrets. @WORDS@ are put in by the test that runs it.
pid_file = "@FOLDER@/pid"
exit_after_auth = true

vault {
  address = "@ADDRESS@"
  retry { num_retries = 5 }
}

auto_auth {
  method "token_file" {
    config = { token_file_path = "@FOLDER@/token" }
  }
}

template_config {
  exit_on_retry_failure         = true
  static_secret_render_interval = "1m"
}

template {
  contents    = "{{ with secret \"@KV@/data/app\" }}{{ .Data.data.password }} ${not ours} {{ end }}"
  destination = "@OUT@/one/short"
  perms       = 0640
}

template {
  destination = "@OUT@/one/trimmed.env"
  "perms"     = "0600"
  contents    = <<EOT
{{- /* the database, for the shop */ -}}
{{- with secret "@KV@/data/app" }}
DB_USER={{ .Data.data.user }}
DB_PASSWORD="{{- .Data.data.password -}}"
DSN=postgres://{{ .Data.data.user | urlquery }}:{{ .Data.data.password | urlquery }}@db/{{ index .Data.data "my-key" }}
{{- end }}
HOME=${HOME:-/root} %{ if } {% raw %} {# no comment #} {{ "{{" }} {
EOT
}

template {
  destination = "@OUT@/one/loops"
  contents    = <<-EOT
    {{ with secret "@KV@/data/app" -}}
    {{ range $k, $v := .Data.data.nested }}[{{ $k }}={{ $v }}]{{ else }}none{{ end }}
    {{ range .Data.data.hosts }}- {{ . }}
    {{ end -}}
    {{ range $i, $host := .Data.data.hosts }}{{ if $i }},{{ end }}{{ $i }}:{{ $host }}{{ end }}
    {{ $first := true }}{{ range .Data.data.hosts }}{{ if $first }}{{ $first = false }}{{ else }};{{ end }}{{ . }}{{ end }}
    {{ range .Data.data.nested }}<{{ . }}>{{ end }}
    {{ range .Data.data.nothing }}never{{ else }}empty{{ end }}
    {{ range loop 3 }}{{ . }}{{ end }} {{ range split "," .Data.data.csv }}({{ . | trimSpace }}){{ end }}
    {{ end }}
    EOT
}

template {
  destination = "@OUT@/one/branches"
  contents    = <<EOT
{{ with $s := secret "@KV@/data/app" }}{{ $env := env "STAGE" }}
{{ if eq $env "prod" }}p{{ else if eq $env "test" "stage" }}ts{{ else }}other{{ end }}
{{ if and $s.Data.data.flag (not .Data.data.absent) }}on{{ else }}off{{ end }}
{{ if or .Data.data.absent .Data.data.user }}some{{ end }}
{{ with .Data.data.absent }}{{ . }}{{ else }}absent{{ end }}
{{ with .Data.data.nested }}{{ .a }}{{ end }} {{ .Data.data.nested.b }}
{{ if gt (len .Data.data.hosts) 1 }}many{{ end }} {{ if contains "b" .Data.data.hosts }}has b{{ end }}
{{ if .Data.data.empty }}full{{ else }}empty{{ end }} {{ .Data.data.flag }} {{ .Data.data.port }}
version {{ .Data.metadata.version }} {{ .Data.metadata.custom_metadata.owner }}
{{ envOrDefault "UNSET_THING" "fallback" }} [{{ env "UNSET_THING" }}]
{{ end }}
EOT
}

template {
  destination     = "@OUT@/two/functions"
  left_delimiter  = "[["
  right_delimiter = "]]"
  contents        = <<EOT
[[ with secret "@KV@/data/app" ]]
[[ .Data.data.nested | toJSON ]] [[ .Data.data | toUnescapedJSON ]]
[[ .Data.data.nested | toJSONPretty ]]
[[ .Data.data.user | base64Encode ]] [[ .Data.data.encoded | base64Decode ]] [[ .Data.data.user | toUpper ]]
[[ .Data.data.user | sha256Hex ]] [[ .Data.data.user | replaceAll "a" "o" ]] [[ "Ab" | toLower ]]
[[ .Data.data.user | regexReplaceAll "^(.)(.*)$" "$${2}-${1}" ]] [[ .Data.data.user | trimPrefix "a" | trimSuffix "e" ]]
[[ printf "%s@%s:%d%%" .Data.data.user "host" 5 ]] [[ (printf "%s-x" .Data.data.user) | toUpper ]]
[[ (.Data.data.json | parseJSON).inner ]] [[ .Data.data.hosts | toJSON ]] [[ add 1 2 ]] [[ subtract 1 5 ]] [[ 0x10 ]]
  x: [[ .Data.data.lines | indent 4 ]]
{{ literal }} [[ "a ]] \" b" ]] [[ `raw "x"` ]] [[ .Data.data.csv | split "," | join "+" ]]
[[ end ]]
EOT
}

template {
  destination = "@OUT@/two/other-places"
  contents    = <<EOT
{{ (secret "@V1@/plain").Data.word }} {{ with secret "@V1@/plain" }}{{ range $k, $v := .Data }}{{ $k }}: {{ $v }}
{{ end }}{{ .Data | toJSON }}{{ end }}
{{ with secret "@KV@/app" }}{{ .Data.data.user }}{{ end }} {{ with secret (printf "@KV@/data/%s" (env "NAME")) }}{{ .Data.data.user }}{{ end }}
{{ with secret "@KV@/data/app?version=1" }}{{ .Data.data.user }}{{ end }}
EOT
}
