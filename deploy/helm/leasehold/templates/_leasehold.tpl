{{/*
For your own chart. The context is this chart's: `.Subcharts.leasehold` in a chart that depends on it.

    initContainers: {{- include "leasehold.sidecar" .Subcharts.leasehold | nindent 8 }}
*/}}

{{- define "leasehold.configMapName" -}}
{{ .Values.existingConfigMap | default (printf "%s-leasehold" .Release.Name) }}
{{- end }}

{{- define "leasehold.labels" -}}
app.kubernetes.io/part-of: leasehold
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The labels that pods with the agent are selected by. */}}
{{- define "leasehold.selector" -}}
{{ .Values.podLabels | default (dict "app.kubernetes.io/instance" .Release.Name) | toYaml }}
{{- end }}

{{/* Annotations of the pod: a changed configuration is a rollout. */}}
{{- define "leasehold.annotations" -}}
leasehold/configuration: {{ list .Values.config .Values.shutdownTimeout .Values.telemetryPort | toJson | sha256sum }}
{{- end }}

{{- define "leasehold.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "leasehold.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* What the sidecar and the init container have in common. */}}
{{- define "leasehold.container" -}}
name: leasehold
image: {{ include "leasehold.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.env }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
resources: {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.user }}
  runAsGroup: {{ .Values.group }}
  seccompProfile: {type: RuntimeDefault}
  {{- include "leasehold.confined" . | nindent 2 }}
volumeMounts:
  - {name: leasehold-configuration, mountPath: /etc/leasehold, readOnly: true}
  {{- if .Values.token.enabled }}
  - {name: leasehold-token, mountPath: /run/vault, readOnly: true}
  {{- end }}
  - {name: leasehold-secrets, mountPath: {{ .Values.secrets.mountPath }}}
  {{- if .Values.socket.enabled }}
  - {name: leasehold-socket, mountPath: {{ .Values.socket.mountPath }}}
  {{- end }}
  {{- if .Values.signals.enabled }}
  - {name: leasehold-signals, mountPath: {{ .Values.signals.mountPath }}, readOnly: true}
  {{- end }}
  {{- with .Values.volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* A list of one init container: the agent as a sidecar, started before the app. */}}
{{- define "leasehold.sidecar" -}}
- {{- include "leasehold.container" . | nindent 2 }}
  args: [agent, -c, /etc/leasehold]
  restartPolicy: Always
  ports:
    - {name: telemetry, containerPort: {{ .Values.telemetryPort }}}
  startupProbe:
    httpGet: {path: /startupz, port: telemetry}
    periodSeconds: 1
    failureThreshold: 300
  livenessProbe:
    httpGet: {path: /livez, port: telemetry}
    periodSeconds: 10
    timeoutSeconds: 5
  readinessProbe:
    httpGet: {path: /readyz, port: telemetry}
    periodSeconds: 10
    timeoutSeconds: 5
{{- end }}

{{/* A list of one init container that renders and ends: for Jobs. */}}
{{- define "leasehold.once" -}}
- {{- include "leasehold.container" . | nindent 2 }}
  args: [once, -c, /etc/leasehold, --timeout, {{ .Values.onceTimeout }}]
{{- end }}

{{/* volumeMounts of the app's container. */}}
{{- define "leasehold.volumeMounts" -}}
- {name: leasehold-secrets, mountPath: {{ .Values.secrets.mountPath }}, readOnly: true}
{{- if .Values.socket.enabled }}
- {name: leasehold-socket, mountPath: {{ .Values.socket.mountPath }}, readOnly: true}
{{- end }}
{{- if .Values.signals.enabled }}
- {name: leasehold-signals, mountPath: {{ .Values.signals.mountPath }}}
{{- end }}
{{- end }}

{{/* volumes of the pod. */}}
{{- define "leasehold.volumes" -}}
- name: leasehold-configuration
  projected:
    sources:
      - configMap: {name: {{ include "leasehold.configMapName" . }}}
      {{- with .Values.vault.caConfigMap }}
      - configMap: {name: {{ . }}, items: [{key: ca.pem, path: ca.pem}]}
      {{- end }}
{{- if .Values.token.enabled }}
- name: leasehold-token
  projected:
    sources:
      - serviceAccountToken:
          path: token
          audience: {{ .Values.token.audience }}
          expirationSeconds: {{ .Values.token.expirationSeconds }}
{{- end }}
- name: leasehold-secrets
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.secrets.sizeLimit }}}
{{- if .Values.socket.enabled }}
- name: leasehold-socket
  emptyDir: {medium: Memory, sizeLimit: 64Ki}
{{- end }}
{{- if .Values.signals.enabled }}
- name: leasehold-signals
  emptyDir: {medium: Memory, sizeLimit: 64Ki}
{{- end }}
{{- end }}
