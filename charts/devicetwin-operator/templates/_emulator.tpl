{{/* The name that the emulated hub goes by. */}}
{{- define "devicetwin-operator.emulatorHost" -}}
{{- default (printf "%s-emulator.%s.svc" (include "devicetwin-operator.fullname" .) .Release.Namespace) .Values.emulator.hostname }}
{{- end }}

{{/*
The emulated hub's keys and authority, as YAML with caCert, caKey, owner and device. Those that are installed are kept.
*/}}
{{- define "devicetwin-operator.emulatorKeys" -}}
{{- $name := printf "%s-emulator" (include "devicetwin-operator.fullname" .) }}
{{- $data := (lookup "v1" "Secret" .Release.Namespace $name).data | default dict }}
{{- if and (get $data "ca.crt") (get $data "ca.key") (get $data "iothubowner.key") (get $data "device.key") }}
{{- dict "caCert" (get $data "ca.crt" | b64dec) "caKey" (get $data "ca.key" | b64dec)
      "owner" (get $data "iothubowner.key" | b64dec) "device" (get $data "device.key" | b64dec) | toYaml }}
{{- else }}
{{- $ca := genCAWithKey "hubemulator CA" 3650 (genPrivateKey "ecdsa") }}
{{- dict "caCert" $ca.Cert "caKey" $ca.Key "owner" (randBytes 32) "device" (randBytes 32) | toYaml }}
{{- end }}
{{- end }}
