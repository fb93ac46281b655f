#!/usr/bin/env bash
# Says what `make e2e` lacks on this machine and ends with status 3, unless it is
# root on a Debian, where it installs it: --install.
set -euo pipefail

packages=(containerd runc containernetworking-plugins iptables iproute2 openssl procps util-linux)
programs=(containerd ctr runc iptables ip openssl sysctl nsenter)

lacking() {
  local program
  for program in "${programs[@]}"; do command -v "$program" >/dev/null || echo "$program"; done
  [[ -x /usr/lib/cni/bridge || -x /opt/cni/bin/bridge ]] || echo "the CNI plugins"
}

if ((EUID != 0)); then
  echo "e2e: only root may make Pods here" >&2
  exit 3
fi
missing=$(lacking)
if [[ -z $missing ]]; then exit; fi
if [[ ${1:-} == --install ]] && command -v apt-get >/dev/null; then
  echo "e2e: installing ${packages[*]}" >&2
  apt-get -qq update >&2
  DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "${packages[@]}" >&2
  missing=$(lacking)
  if [[ -z $missing ]]; then exit; fi
fi
echo "e2e: this machine lacks: ${missing//$'\n'/, }. On Debian: hack/e2e/prerequisites.sh --install" >&2
exit 3
