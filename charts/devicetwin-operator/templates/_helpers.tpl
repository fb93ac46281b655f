{{/* Name of the chart in labels. */}}
{{- define "devicetwin-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* What the names of all objects begin with: 40 characters at most leave room for the rest. */}}
{{- define "devicetwin-operator.fullname" -}}
{{- $name := include "devicetwin-operator.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "devicetwin-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.name }}
{{- .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create }}
{{- include "devicetwin-operator.fullname" . }}-manager
{{- else }}default
{{- end }}
{{- end }}

{{/* Labels that never change: (dict "root" $ "component" "manager" "shard" "") */}}
{{- define "devicetwin-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "devicetwin-operator.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .shard }}
iothub.devicetwin.io/shard: {{ . }}
{{- end }}
{{- end }}

{{/* Labels of any object: (dict "root" $ "component" "manager") */}}
{{- define "devicetwin-operator.labels" -}}
{{ include "devicetwin-operator.selectorLabels" . }}
app.kubernetes.io/part-of: devicetwin-operator
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* An image: (dict "root" $ "repository" "…" "digest" "") */}}
{{- define "devicetwin-operator.image" -}}
{{- $path := printf "%s/%s" .root.Values.image.registry .repository }}
{{- if .digest }}
{{- printf "%s@%s" $path .digest }}
{{- else }}
{{- printf "%s:%s" $path (default .root.Chart.AppVersion .root.Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Resources of a manager that keeps so many twins: (dict "root" $ "fleetSize" 10000 "resources" dict) */}}
{{- define "devicetwin-operator.resources" -}}
{{- if .resources }}
{{- toYaml .resources }}
{{- else }}
{{- $fleet := int .fleetSize }}
{{- $fits := dict }}
{{- range (.root.Files.Get "files/sizing.yaml" | fromYaml).sizes }}
{{- if and (not $fits) (le $fleet (int .twins)) }}
{{- $fits = . }}
{{- end }}
{{- end }}
{{- if not $fits }}
{{- fail (printf "no manager was measured with %d twins: divide the fleet by shards (docs/sharding.md), or set resources" $fleet) }}
{{- end }}
requests: {cpu: {{ $fits.cpu }}, memory: {{ $fits.request }}}
limits: {memory: {{ $fits.limit }}}
{{- end }}
{{- end }}

{{/* A memory quantity in MiB, times a ratio: (dict "memory" "512Mi" "ratio" 0.9). Empty where there is no limit. */}}
{{- define "devicetwin-operator.memoryLimit" -}}
{{- if and .memory .ratio }}
{{- $text := toString .memory }}
{{- if not (regexMatch "^[0-9]+([.][0-9]+)?([kMGT]|[KMGT]i)?$" $text) }}
{{- fail (printf "resources.limits.memory %q: write it as 512Mi or 2Gi, or set gomemlimitRatio to 0" $text) }}
{{- end }}
{{- $units := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 }}
{{- $bytes := mulf (regexFind "^[0-9.]+" $text | float64) (get $units (regexFind "[kKMGTi]*$" $text)) .ratio }}
{{- divf $bytes 1048576 | floor | int64 }}MiB
{{- end }}
{{- end }}

{{/* The Secret with the webhooks' certificate. */}}
{{- define "devicetwin-operator.certificateSecret" -}}
{{- if eq .Values.webhook.certificate.source "secret" }}
{{- required "webhook.certificate.secretName is needed for the source secret" .Values.webhook.certificate.secretName }}
{{- else }}
{{- include "devicetwin-operator.fullname" . }}-webhook-certificate
{{- end }}
{{- end }}

{{/* Whether a monitor is to be rendered, "true" or empty: (dict "root" $ "kind" "ServiceMonitor" "monitor" dict) */}}
{{- define "devicetwin-operator.rendersMonitor" -}}
{{- $served := .root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" .kind) }}
{{- if and .root.Values.metrics.enabled .monitor.enabled }}
{{- if or $served (eq .monitor.renderMode "alwaysRender") }}true
{{- else if eq .monitor.renderMode "failIfMissing" }}
{{- fail (printf "the cluster serves no %s: install the Prometheus operator first, or set its renderMode" .kind) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Annotations of what is there for the time of a `helm test` alone, for its place in the order: the lowest first. */}}
{{- define "devicetwin-operator.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
