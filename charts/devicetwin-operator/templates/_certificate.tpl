{{/*
The self-signed certificate of the webhooks, as YAML with renewAfter (seconds since 1970) and a Secret's data:
(dict "root" $ "service" "…" "secret" "…")
The one that is installed is kept until its last third. Then a new one is made, and ca.crt names both, so that the API
server trusts managers that have not taken up the new one yet. Where the cluster cannot be asked (helm template), there
is a new one each time.
*/}}
{{- define "devicetwin-operator.certificate" -}}
{{- $days := int .root.Values.webhook.certificate.validityDays }}
{{- $names := list (printf "%s.%s.svc" .service .root.Release.Namespace) (printf "%s.%s.svc.cluster.local" .service .root.Release.Namespace) }}
{{- $installed := lookup "v1" "Secret" .root.Release.Namespace .secret | default dict }}
{{- $data := $installed.data | default dict }}
{{- $renewAfter := dig "metadata" "annotations" "iothub.devicetwin.io/renew-after" "" $installed }}
{{- if and (get $data "tls.crt") (get $data "tls.key") (get $data "ca.crt") $renewAfter (lt (now | unixEpoch | int64) ($renewAfter | int64)) }}
{{- dict "renewAfter" $renewAfter "data" (pick $data "tls.crt" "tls.key" "ca.crt") | toYaml }}
{{- else }}
{{- $ca := genCAWithKey (first $names) $days (genPrivateKey "ecdsa") }}
{{- $leaf := genSignedCertWithKey (first $names) nil $names $days $ca (genPrivateKey "ecdsa") }}
{{- $before := get $data "ca.crt" | b64dec }}
{{- $before = regexFind "-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----" $before }}
{{- dict
    "renewAfter" (add (now | unixEpoch | int64) (div (mul $days 86400 2) 3) | toString)
    "data" (dict "tls.crt" ($leaf.Cert | b64enc) "tls.key" ($leaf.Key | b64enc) "ca.crt" (printf "%s%s" $ca.Cert (ternary "" (printf "%s\n" $before) (empty $before)) | b64enc))
    | toYaml }}
{{- end }}
{{- end }}
