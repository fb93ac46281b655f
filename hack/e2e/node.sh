#!/usr/bin/env bash
# A Kubernetes node of one's own, within a network namespace of its own, so that
# nothing of it listens on the machine's addresses. To be sourced, with these set:
# work (a folder of the node's own), control and node (the folders with its programs).

netns=devicetwin-e2e

# inside COMMAND...: in the node's network.
inside() { nsenter --net="/run/netns/$netns" "$@"; }

kubectl() { inside "$control/kubectl" --kubeconfig "$work/pki/admin.kubeconfig" "$@"; }

ctr() { inside ctr --address "$work/containerd.sock" -n k8s.io "$@"; }

# launch NAME COMMAND...: in the background; its output goes to NAME.log, its id to NAME.pid.
launch() {
  local name=$1
  shift
  setsid nsenter --net="/run/netns/$netns" "$@" >"$work/$name.log" 2>&1 </dev/null &
  echo $! >"$work/$name.pid"
}

# await WHAT SECONDS COMMAND...
await() {
  local what=$1 until=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= until)); then
      echo "e2e: timed out waiting until $what; logs are in $work" >&2
      return 1
    fi
    sleep 0.2
  done
}

# certificate NAME SUBJECT USAGE [SAN]
certificate() {
  local extensions
  extensions=$(printf 'keyUsage=critical,digitalSignature\nextendedKeyUsage=%s\n' "$3")
  if [[ -n ${4:-} ]]; then extensions+=$'\n'"subjectAltName=$4"; fi
  openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
  openssl req -new -key "$1.key" -subj "$2" |
    openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile <(echo "$extensions") -out "$1.crt" 2>/dev/null
}

pki() (
  mkdir -p "$work/pki" && cd "$work/pki" || exit 1
  openssl ecparam -name prime256v1 -genkey -noout -out ca.key
  openssl req -x509 -new -key ca.key -subj /CN=devicetwin-e2e -days 2 -out ca.crt \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,digitalSignature
  openssl genrsa -out sa.key 2048 2>/dev/null
  openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
  certificate apiserver /CN=kube-apiserver serverAuth IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc
  certificate kubelet-server /CN=kubelet serverAuth IP:127.0.0.1,DNS:localhost
  certificate apiserver-client /O=system:masters/CN=kube-apiserver clientAuth
  certificate admin /O=system:masters/CN=admin clientAuth
  certificate controller-manager /CN=system:kube-controller-manager clientAuth
  certificate scheduler /CN=system:kube-scheduler clientAuth
  certificate kubelet /O=system:nodes/CN=system:node:127.0.0.1 clientAuth
  for user in admin controller-manager scheduler kubelet; do
    cat >"$user.kubeconfig" <<K
apiVersion: v1
kind: Config
clusters: [{name: e2e, cluster: {server: "https://127.0.0.1:443", certificate-authority: $work/pki/ca.crt}}]
users: [{name: $user, user: {client-certificate: $work/pki/$user.crt, client-key: $work/pki/$user.key}}]
contexts: [{name: e2e, context: {cluster: e2e, user: $user}}]
current-context: e2e
K
  done
)

configure() {
  local file
  mkdir -p "$work/cni" "$work/cni-bin"
  for file in containerd.toml kubelet.yaml; do sed "s#@WORK@#$work#g" "hack/e2e/node/$file" >"$work/$file"; done
  echo 'nameserver 127.0.0.1' >"$work/resolv.conf" # no name of the outside is looked up
  echo '{"cniVersion": "0.4.0", "name": "lo", "plugins": [{"type": "loopback"}]}' >"$work/cni/10-lo.conflist"
  ln -sf /usr/lib/cni/loopback "$work/cni-bin/loopback"
}

node_up() {
  sysctl vm.overcommit_memory kernel.panic kernel.panic_on_oops >"$work/sysctl.before" # the kubelet sets them
  ip netns add "$netns"
  inside ip link set lo up
  pki
  configure
  launch etcd "$control/etcd" --data-dir "$work/etcd" --listen-client-urls http://127.0.0.1:2379 \
    --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync --log-level warn
  launch containerd containerd --config "$work/containerd.toml"
  launch kube-apiserver "$control/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --bind-address=127.0.0.1 --secure-port=443 \
    --advertise-address=127.0.0.1 --endpoint-reconciler-type=none --service-cluster-ip-range=127.0.0.0/24 \
    --tls-cert-file="$work/pki/apiserver.crt" --tls-private-key-file="$work/pki/apiserver.key" --client-ca-file="$work/pki/ca.crt" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$work/pki/sa.pub" \
    --service-account-signing-key-file="$work/pki/sa.key" --kubelet-client-certificate="$work/pki/apiserver-client.crt" \
    --kubelet-client-key="$work/pki/apiserver-client.key" --kubelet-certificate-authority="$work/pki/ca.crt" \
    --kubelet-preferred-address-types=InternalIP --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction
  await "containerd answers" 30 ctr version
  await "the API server is ready" 60 kubectl get --raw /readyz
  launch kube-controller-manager "$node/kube-controller-manager" --kubeconfig="$work/pki/controller-manager.kubeconfig" \
    --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials \
    --service-account-private-key-file="$work/pki/sa.key" --root-ca-file="$work/pki/ca.crt"
  launch kube-scheduler "$node/kube-scheduler" --kubeconfig="$work/pki/scheduler.kubeconfig" --bind-address=127.0.0.1 --leader-elect=false
  launch kubelet "$node/kubelet" --config="$work/kubelet.yaml" --kubeconfig="$work/pki/kubelet.kubeconfig" \
    --hostname-override=127.0.0.1 --root-dir="$work/kubelet"
  await "the node is there" 60 kubectl get node 127.0.0.1
  kubectl wait node 127.0.0.1 --for=condition=Ready --timeout=60s >/dev/null
  await "Pods can be made" 60 kubectl get serviceaccount default
}

# end NAME: the process that launch started.
end() {
  local pid
  pid=$(cat "$work/$1.pid" 2>/dev/null) || return 0
  kill "$pid" 2>/dev/null || return 0
  for _ in $(seq 100); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null || true
}

# node_down ends the node, whatever of it is there, and leaves the machine as it was.
node_down() {
  local container mounted setting
  end kube-controller-manager # or it would make the Pods again
  end kube-scheduler
  timeout 60 nsenter --net="/run/netns/$netns" "$control/kubectl" --kubeconfig "$work/pki/admin.kubeconfig" \
    delete pods -A --all --grace-period=2 --wait >/dev/null 2>&1 || true
  end kubelet
  end kube-apiserver
  end etcd
  for container in $(ctr tasks ls -q 2>/dev/null); do ctr tasks kill -s SIGKILL "$container" || true; done
  sleep 1
  for container in $(ctr containers ls -q 2>/dev/null); do ctr containers rm "$container" || true; done
  end containerd
  awk -v work="$work/" 'index($2, work) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mounted; do umount "$mounted" || true; done
  find /var/log/containers -lname "$work/*" -delete 2>/dev/null || true
  while read -r setting; do sysctl -qw "${setting// = /=}" || true; done <"$work/sysctl.before"
  ip netns del "$netns" 2>/dev/null || true
}
