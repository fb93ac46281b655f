#!/usr/bin/env bash
# Makes the PrometheusRule of config/monitoring from the plain rules file beside it.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../config/monitoring"
{
  cat <<'HEAD'
# Made from rules.yaml by `make manifests`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: devicetwin-operator
  labels:
    app.kubernetes.io/name: devicetwin-operator
spec:
HEAD
  sed -n '/^groups:/,$ s/^/  /p' rules.yaml
} >prometheusrule.yaml
