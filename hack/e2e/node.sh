#!/usr/bin/env bash
# A Kubernetes node of one's own, within a network namespace of its own, so that
# nothing of it listens on the machine's addresses. To be sourced, with these set:
# work (a folder of the node's own), control and node (the folders with its
# programs), dns (the program for names).

netns=devicetwin-e2e
name=node
address=10.88.0.1 # the node's, and the gateway of its Pods
pods=10.88.0.0/16
services=10.96.0.0/16

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
  certificate apiserver /CN=kube-apiserver serverAuth "IP:127.0.0.1,IP:$address,IP:${services/%0\/*/1},DNS:kubernetes.default.svc"
  certificate kubelet-server /CN=kubelet serverAuth "IP:$address"
  certificate apiserver-client /O=system:masters/CN=kube-apiserver clientAuth
  certificate admin /O=system:masters/CN=admin clientAuth
  certificate controller-manager /CN=system:kube-controller-manager clientAuth
  certificate scheduler /CN=system:kube-scheduler clientAuth
  certificate kubelet "/O=system:nodes/CN=system:node:$name" clientAuth
  for user in admin controller-manager scheduler kubelet; do
    cat >"$user.kubeconfig" <<K
apiVersion: v1
kind: Config
clusters: [{name: e2e, cluster: {server: "https://127.0.0.1:6443", certificate-authority: $work/pki/ca.crt}}]
users: [{name: $user, user: {client-certificate: $work/pki/$user.crt, client-key: $work/pki/$user.key}}]
contexts: [{name: e2e, context: {cluster: e2e, user: $user}}]
current-context: e2e
K
  done
)

# snapshotter_here is overlayfs, unless this file system takes none above it, as in some containers.
snapshotter_here() {
  local layers=$work/layers
  mkdir -p "$layers"/{lower,upper,work,merged}
  if mount -t overlay overlay -o "lowerdir=$layers/lower,upperdir=$layers/upper,workdir=$layers/work" "$layers/merged" 2>/dev/null; then
    umount "$layers/merged"
    echo overlayfs
  else
    echo native
  fi
}

# configure writes what containerd, the kubelet and the cluster's DNS read.
configure() {
  local file plugin
  mkdir -p "$work/cni" "$work/cni-bin"
  snapshotter=${E2E_SNAPSHOTTER:-$(snapshotter_here)}
  for file in containerd.toml kubelet.yaml cni.conflist Corefile; do
    sed "s#@WORK@#$work#g; s#@ADDRESS@#$address#g; s#@PODS@#$pods#g; s#@SNAPSHOTTER@#$snapshotter#g" "hack/e2e/node/$file" >"$work/$file"
  done
  mv "$work/cni.conflist" "$work/cni/"
  : >"$work/resolv.conf" # no name of the outside is looked up
  for plugin in bridge host-local loopback; do
    for file in /usr/lib/cni /opt/cni/bin; do
      if [[ -x $file/$plugin ]]; then ln -sf "$file/$plugin" "$work/cni-bin/"; fi
    done
  done
}

network_up() {
  ip netns add "$netns"
  inside ip link set lo up
  inside ip link add cni0 type bridge # as the CNI plugin would with the first Pod
  inside ip address add "$address/16" dev cni0
  inside ip link set cni0 up
  inside ip route add "$services" dev cni0 # kube-proxy's rules send it on
  inside sysctl -qw net.ipv4.ip_forward=1
}

start_containerd() {
  launch containerd containerd --config "$work/containerd.toml"
  await "containerd answers" 30 ctr version
}

# restart_containerd as an upgrade of its package does: Pods go on without it.
restart_containerd() {
  end containerd
  start_containerd
}

node_up() {
  sysctl vm.overcommit_memory kernel.panic kernel.panic_on_oops >"$work/sysctl.before" # the kubelet sets them
  network_up
  pki
  configure
  launch etcd "$control/etcd" --data-dir "$work/etcd" --listen-client-urls http://127.0.0.1:2379 \
    --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync --log-level warn
  start_containerd
  launch kube-apiserver "$control/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --secure-port=6443 \
    --advertise-address="$address" --service-cluster-ip-range="$services" \
    --tls-cert-file="$work/pki/apiserver.crt" --tls-private-key-file="$work/pki/apiserver.key" --client-ca-file="$work/pki/ca.crt" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$work/pki/sa.pub" \
    --service-account-signing-key-file="$work/pki/sa.key" --kubelet-client-certificate="$work/pki/apiserver-client.crt" \
    --kubelet-client-key="$work/pki/apiserver-client.key" --kubelet-certificate-authority="$work/pki/ca.crt" \
    --kubelet-preferred-address-types=InternalIP --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction
  await "the API server is ready" 60 kubectl get --raw /readyz
  launch kube-controller-manager "$node/kube-controller-manager" --kubeconfig="$work/pki/controller-manager.kubeconfig" \
    --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials \
    --service-account-private-key-file="$work/pki/sa.key" --root-ca-file="$work/pki/ca.crt"
  launch kube-scheduler "$node/kube-scheduler" --kubeconfig="$work/pki/scheduler.kubeconfig" --bind-address=127.0.0.1 --leader-elect=false
  # Pods are all on this bridge: without masquerading their answers would not come back the way they went.
  launch kube-proxy "$node/kube-proxy" --kubeconfig="$work/pki/admin.kubeconfig" --hostname-override="$name" --proxy-mode=iptables \
    --masquerade-all --iptables-localhost-nodeports=false --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 \
    --conntrack-tcp-timeout-close-wait=0
  launch dns "$dns" -conf "$work/Corefile"
  launch kubelet "$node/kubelet" --config="$work/kubelet.yaml" --kubeconfig="$work/pki/kubelet.kubeconfig" \
    --hostname-override="$name" --node-ip="$address" --root-dir="$work/kubelet"
  await "the node is there" 60 kubectl get node "$name"
  kubectl wait node "$name" --for=condition=Ready --timeout=60s >/dev/null
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
  end kube-proxy
  end dns
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
