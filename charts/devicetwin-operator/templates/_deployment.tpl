{{/*
The Deployment of one manager:
(dict "root" $ "name" "…" "component" "manager" "shard" "" "selector" "" "webhook" true "size" dict)
where size may hold replicaCount, fleetSize and resources.
*/}}
{{- define "devicetwin-operator.deployment" -}}
{{- $values := .root.Values }}
{{- $selector := include "devicetwin-operator.selectorLabels" . }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "devicetwin-operator.labels" . | nindent 4 }}
spec:
  replicas: {{ default $values.replicaCount .size.replicaCount }}
  selector:
    matchLabels:
      {{- $selector | nindent 6 }}
  {{- with $values.strategy }}
  strategy:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  template:
    metadata:
      labels:
        {{- include "devicetwin-operator.labels" . | nindent 8 }}
        {{- with $values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        kubectl.kubernetes.io/default-container: manager
        {{- with $values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      {{- with $values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      serviceAccountName: {{ include "devicetwin-operator.serviceAccountName" .root }}
      terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
      {{- with $values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- if $values.hostNetwork }}
      hostNetwork: true
      {{- end }}
      {{- with $values.dnsPolicy }}
      dnsPolicy: {{ . }}
      {{- end }}
      {{- with $values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.topologySpreadConstraints }}
      topologySpreadConstraints:
        {{- range . }}
        {{- merge (dict) . (dict "labelSelector" (dict "matchLabels" ($selector | fromYaml))) | list | toYaml | nindent 8 }}
        {{- end }}
      {{- end }}
      securityContext:
        {{- toYaml $values.podSecurityContext | nindent 8 }}
      {{- if $values.devicesim.enabled }}
      initContainers:
        {{- include "devicetwin-operator.devicesim" .root | trim | nindent 8 }}
      {{- end }}
      containers:
        {{- include "devicetwin-operator.manager" . | trim | nindent 8 }}
      {{- with include "devicetwin-operator.volumes" . | trim }}
      {{- . | nindent 6 }}
      {{- end }}
{{- end }}

{{/* The manager's container, for what the Deployment gets. */}}
{{- define "devicetwin-operator.manager" -}}
{{- $values := .root.Values }}
{{- $hosts := $values.allowedHostSuffixes }}
{{- if $values.emulator.enabled }}
{{- $hosts = append $hosts (include "devicetwin-operator.emulatorHost" .root) }}
{{- end }}
{{- $resources := include "devicetwin-operator.resources" (dict "root" .root
      "fleetSize" (default $values.fleetSize .size.fleetSize) "resources" (default $values.resources .size.resources)) | fromYaml }}
- name: manager
  image: {{ include "devicetwin-operator.image" (dict "root" .root "repository" $values.image.repository "digest" $values.image.digest) }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  command: [/manager]
  args:
  - --leader-elect
  - --health-probe-bind-address=:{{ $values.ports.probes }}
  - --metrics-bind-address={{ ternary (printf ":%v" $values.ports.metrics) "0" $values.metrics.enabled }}
  {{- if not $values.metrics.secure }}
  - --metrics-secure=false
  {{- end }}
  - --webhook-cert-dir={{ ternary "/etc/devicetwin/webhook-certificate" "" .webhook }}
  {{- if and .webhook (ne (int $values.ports.webhook) 9443) }}
  - --webhook-bind-address=:{{ $values.ports.webhook }}
  {{- end }}
  - {{ printf "--watch-label-selector=%s" .selector | quote }}
  - {{ printf "--watch-namespaces=%s" (include "devicetwin-operator.watchNamespaces" .root) | quote }}
  {{- range $flag, $value := dict "workers" $values.workers "deletion-timeout" $values.deletionTimeout
        "zap-log-level" $values.log.level "zap-encoder" $values.log.encoder
        "allowed-host-suffixes" (join "," $hosts) "entra-authority-host" $values.entra.authorityHost
        "entra-scope" $values.entra.scope "entra-exchange-audience" $values.entra.exchangeAudience }}
  {{- if $value }}
  - {{ printf "--%s=%v" $flag $value | quote }}
  {{- end }}
  {{- end }}
  {{- range $values.extraArgs }}
  - {{ . | quote }}
  {{- end }}
  {{- with include "devicetwin-operator.env" (dict "values" $values "resources" $resources) | trim }}
  env:
    {{- . | nindent 4 }}
  {{- end }}
  ports:
  {{- if $values.metrics.enabled }}
  - {name: metrics, containerPort: {{ $values.ports.metrics }}, protocol: TCP}
  {{- end }}
  - {name: probes, containerPort: {{ $values.ports.probes }}, protocol: TCP}
  {{- if .webhook }}
  - {name: webhook, containerPort: {{ $values.ports.webhook }}, protocol: TCP}
  {{- end }}
  livenessProbe:
    httpGet: {path: /healthz, port: probes}
    initialDelaySeconds: 15
    periodSeconds: 20
  readinessProbe:
    httpGet: {path: /readyz, port: probes}
    periodSeconds: 10
  resources:
    {{- toYaml $resources | nindent 4 }}
  securityContext:
    {{- toYaml $values.securityContext | nindent 4 }}
  {{- if or .webhook $values.extraVolumeMounts }}
  volumeMounts:
  {{- if .webhook }}
  - {name: webhook-certificate, mountPath: /etc/devicetwin/webhook-certificate, readOnly: true}
  {{- end }}
  {{- with $values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- end }}
{{- end }}

{{/* The manager's environment: (dict "values" .Values "resources" dict) */}}
{{- define "devicetwin-operator.env" -}}
{{- $memory := dig "limits" "memory" "" .resources }}
{{- with include "devicetwin-operator.memoryLimit" (dict "memory" $memory "ratio" .values.gomemlimitRatio) }}
- {name: GOMEMLIMIT, value: {{ . }}}
{{- end }}
{{- with .values.proxy.https }}
- {name: HTTPS_PROXY, value: {{ . | quote }}}
# The API server is called directly; the kubelet puts in its address.
- name: NO_PROXY
  value: {{ join "," (concat (list "$(KUBERNETES_SERVICE_HOST)" "localhost" "127.0.0.1" ".svc" ".cluster.local") $.values.proxy.noProxy) | quote }}
{{- end }}
{{- with .values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The simulated device: a native sidecar, which starts before the manager and ends after it. */}}
{{- define "devicetwin-operator.devicesim" -}}
- name: devicesim
  restartPolicy: Always
  image: {{ include "devicetwin-operator.image" (dict "root" $ "repository" .Values.devicesim.repository) }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [/devicesim]
  args:
  - --connection-string-file=/etc/devicesim/connection/connectionString
  - --connectivity={{ .Values.devicesim.connectivity }}
  {{- $mqtt := ternary (printf "%s:%v" (include "devicetwin-operator.emulatorHost" .) .Values.emulator.ports.mqtts) "" .Values.emulator.enabled }}
  {{- with default $mqtt .Values.devicesim.mqttAddress }}
  - --mqtt-address={{ . }}
  {{- end }}
  env:
  # The system's roots, and those of the Secret when it has any.
  - {name: SSL_CERT_DIR, value: "/etc/ssl/certs:/etc/devicesim/ca"}
  resources:
    {{- toYaml .Values.devicesim.resources | nindent 4 }}
  securityContext:
    {{- toYaml .Values.securityContext | nindent 4 }}
  volumeMounts:
  - {name: devicesim-connection, mountPath: /etc/devicesim/connection, readOnly: true}
  - {name: devicesim-ca, mountPath: /etc/devicesim/ca, readOnly: true}
{{- end }}

{{/* The volumes of a manager's Pod, for what the Deployment gets. */}}
{{- define "devicetwin-operator.volumes" -}}
{{- $values := .root.Values }}
{{- if or .webhook $values.devicesim.enabled $values.extraVolumes }}
volumes:
{{- if .webhook }}
- name: webhook-certificate
  secret:
    secretName: {{ include "devicetwin-operator.certificateSecret" .root }}
{{- end }}
{{- if $values.devicesim.enabled }}
- name: devicesim-connection
  secret:
    secretName: {{ $values.devicesim.connectionSecretName }}
    items:
    - {key: connectionString, path: connectionString}
- name: devicesim-ca
  secret:
    secretName: {{ $values.devicesim.connectionSecretName }}
    optional: true # also when the Secret has no such key
    items:
    - {key: ca.crt, path: ca.crt}
{{- end }}
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The PodDisruptionBudget of one manager, for what the Deployment gets. */}}
{{- define "devicetwin-operator.podDisruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "devicetwin-operator.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .root.Values.podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "devicetwin-operator.selectorLabels" . | nindent 6 }}
{{- end }}
