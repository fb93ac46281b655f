{{/*
An object of config/rbac under this release's names, for all namespaces or for one:
(dict "root" $ "object" dict "namespace" "")
*/}}
{{- define "devicetwin-operator.rbacObject" -}}
{{- $root := .root }}
{{- $object := .object }}
{{- $fullname := include "devicetwin-operator.fullname" $root }}
{{- $labels := include "devicetwin-operator.labels" (dict "root" $root "component" "rbac") | fromYaml }}
{{- $metadata := dict "name" (printf "%s-%s" $fullname $object.metadata.name) "labels" (merge $labels (default dict $object.metadata.labels)) }}
{{- if $object.metadata.namespace }}
{{- $_ := set $metadata "namespace" $root.Release.Namespace }}
{{- end }}
{{- with .namespace }}
{{- $_ := set $metadata "namespace" . }}
{{- $_ := set $object "kind" (trimPrefix "Cluster" $object.kind) }}
{{- with $object.roleRef }}
{{- $_ := set . "kind" (trimPrefix "Cluster" .kind) }}
{{- end }}
{{- end }}
{{- $_ := set $object "metadata" $metadata }}
{{- with $object.roleRef }}
{{- $_ := set . "name" (printf "%s-%s" $fullname .name) }}
{{- end }}
{{- range $object.subjects }}
{{- $_ := set . "name" (include "devicetwin-operator.serviceAccountName" $root) }}
{{- $_ := set . "namespace" $root.Release.Namespace }}
{{- end }}
{{- range $object.rules }}
{{- if and (has "leases" .resources) .resourceNames }}
{{- $_ := set . "resourceNames" (include "devicetwin-operator.leases" $root | fromYamlArray) }}
{{- end }}
{{- end }}
{{- toYaml $object }}
{{- end }}

{{/* The Leases of all managers: each has one by what it watches, as internal/shard names it. */}}
{{- define "devicetwin-operator.leases" -}}
{{- $namespaces := include "devicetwin-operator.watchNamespaces" . }}
{{- range (include "devicetwin-operator.selectors" . | fromYaml).selectors }}
{{- $watched := . }}
{{- if $namespaces }}
{{- $watched = printf "%s\n%s" . $namespaces }}
{{- end }}
- devicetwin-operator.iothub.devicetwin.io{{ if $watched }}-{{ sha256sum $watched | trunc 8 }}{{ end }}
{{- end }}
{{- end }}

{{/* The label selectors of the managers, the first one's first. */}}
{{- define "devicetwin-operator.selectors" -}}
{{- $shards := .Values.shards }}
selectors:
- {{ ternary (printf "!%s" $shards.label) "" (not (empty $shards.managers)) | quote }}
{{- range $shards.managers }}
- {{ printf "%s=%s" $shards.label .name | quote }}
{{- end }}
{{- end }}

{{/* The namespaces to watch, as the manager's flag takes them, in the order of its Lease's name. */}}
{{- define "devicetwin-operator.watchNamespaces" -}}
{{- .Values.watchNamespaces | uniq | sortAlpha | join "," }}
{{- end }}
