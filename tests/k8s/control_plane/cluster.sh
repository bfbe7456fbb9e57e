#!/usr/bin/env bash
# A Kubernetes cluster on this machine, in a network namespace of its own: nothing listens outside of it, and clusters in
# different folders do not meet. `cluster.sh up FOLDER` starts etcd, API server, controllers and scheduler: manifests are
# judged and objects made, and no pod runs. `cluster.sh node FOLDER` adds containerd, kubelet and the names of Services, so
# that pods run. `cluster.sh kubectl FOLDER ...` asks it; `cluster.sh down FOLDER` ends all of it.
#
# BIN is the folder of the programs kube and pause. One node at a time: two kubelets on a machine share the cgroup
# `kubepods`, and end each other's pods.
set -euo pipefail

what=$1 folder=$(realpath -m "$2")
shift 2
bin=${BIN:?the folder of the program kube}
name=kube-$(sha256sum <<<"$folder" | cut -c1-8)
gateway=10.88.0.1     # the node, the API server, and what answers for names
api_service=10.96.0.1 # the first address of the Services' range, which the API server's Service gets

inside() { nsenter --net="/run/netns/$name" -- "$@"; }
kubectl() { inside "$bin/kube" kubectl --kubeconfig "$folder/admin.kubeconfig" "$@"; }

start() { # NAME COMMAND...
  local part=$1
  shift
  nsenter --net="/run/netns/$name" -- setsid "$@" >"$folder/$part.log" 2>&1 </dev/null &
  echo "$!" >"$folder/$part.pid"
}

await() { # SECONDS WHAT COMMAND...
  local seconds=$1 of=$2 try
  shift 2
  for ((try = 0; try < seconds * 5; try++)); do
    ! "$@" >/dev/null 2>&1 || return 0
    sleep 0.2
  done
  echo "error: no $of after $seconds s: look at $folder/*.log." >&2
  exit 1
}

config() { # FILE TOKEN: a kubeconfig
  cat >"$1" <<END
apiVersion: v1
kind: Config
clusters: [{name: it, cluster: {server: "https://$gateway", certificate-authority: $folder/tls/apiserver.crt}}]
users: [{name: it, user: {token: $2}}]
contexts: [{name: it, context: {cluster: it, user: it, namespace: default}}]
current-context: it
END
}

control_plane() {
  openssl genrsa -out "$folder/accounts.key" 2048 2>/dev/null
  local token
  token=$(openssl rand -hex 16)
  printf '%s,admin,admin,system:masters\n%s,system:node:node,node,system:nodes\n' "$token" "$token-node" >"$folder/tokens.csv"
  config "$folder/admin.kubeconfig" "$token"
  config "$folder/node.kubeconfig" "$token-node"
  start etcd "$bin/kube" etcd --data-dir "$folder/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster default=http://127.0.0.1:2380
  start apiserver "$bin/kube" kube-apiserver --etcd-servers http://127.0.0.1:2379 \
    --secure-port 443 --advertise-address "$gateway" --cert-dir "$folder/tls" \
    --service-cluster-ip-range 10.96.0.0/16 --service-account-issuer https://kubernetes.default.svc \
    --service-account-key-file "$folder/accounts.key" --service-account-signing-key-file "$folder/accounts.key" \
    --token-auth-file "$folder/tokens.csv" --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
    --kubelet-preferred-address-types InternalIP --allow-privileged
  await 60 "API server" kubectl get --raw /readyz
  start controllers "$bin/kube" kube-controller-manager --kubeconfig "$folder/admin.kubeconfig" --leader-elect=false \
    --bind-address 127.0.0.1 --service-account-private-key-file "$folder/accounts.key" \
    --root-ca-file "$folder/tls/apiserver.crt" --use-service-account-credentials
  start scheduler "$bin/kube" kube-scheduler --kubeconfig "$folder/admin.kubeconfig" --leader-elect=false \
    --bind-address 127.0.0.1
  await 60 "service account" kubectl get serviceaccount default
}

node() {
  mkdir -p "$folder/cni" "$folder/kubelet"
  cat >"$folder/cni/10-bridge.conflist" <<END
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods", "isDefaultGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$folder/addresses", "ranges": [[{"subnet": "10.88.0.0/24"}]]}}]}
END
  cat >"$folder/containerd.toml" <<END
version = 2
root = "$folder/containerd/root"
state = "$folder/containerd/state"
[grpc]
  address = "$folder/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true # without CAP_SYS_RESOURCE no process may protect itself
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$folder/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
END
  start containerd containerd --config "$folder/containerd.toml"
  await 30 containerd ctr --address "$folder/containerd.sock" version
  echo "nameserver $gateway" >"$folder/resolv.conf"
  cat >"$folder/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $gateway
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix://$folder/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
makeIPTablesUtilChains: false
localStorageCapacityIsolation: false
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
clusterDNS: [$gateway]
clusterDomain: cluster.local
resolvConf: $folder/resolv.conf
podLogsDir: $folder/logs
syncFrequency: 10s
nodeStatusUpdateFrequency: 5s
END
  start kubelet "$bin/kube" kubelet --config "$folder/kubelet.yaml" --kubeconfig "$folder/node.kubeconfig" \
    --root-dir "$folder/kubelet" --cert-dir "$folder/kubelet/pki" --hostname-override node --node-ip "$gateway"
  start dns "$bin/kube" dns --kubeconfig "$folder/admin.kubeconfig" --listen "$gateway:53"
  await 60 node kubectl wait --for=condition=Ready node/node --timeout=1s
}

stop() { # NAMES: asks them to end, and ends those that take longer than 15 s
  local part pid try
  for part; do
    [ -e "$folder/$part.pid" ] || continue
    pid=$(cat "$folder/$part.pid")
    kill "$pid" 2>/dev/null || true
    for ((try = 0; try < 150; try++)); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
    rm -f "$folder/$part.pid"
  done
}

down() {
  local tasks=(ctr --address "$folder/containerd.sock" -n k8s.io tasks) try task mount
  stop controllers scheduler # which would make pods anew
  if [ -e "$folder/containerd.pid" ]; then # containers outlive containerd: the pods go first
    kubectl delete pods --all --all-namespaces --force --grace-period=0 --wait=false >/dev/null 2>&1 || true
    for ((try = 0; try < 100; try++)); do [ -n "$("${tasks[@]}" ls -q 2>/dev/null)" ] || break; sleep 0.2; done
    stop dns kubelet
    for task in $("${tasks[@]}" ls -q 2>/dev/null); do "${tasks[@]}" kill -s SIGKILL "$task" || true; done
    stop containerd
    for mount in $(awk -v folder="$folder/" 'index($2, folder) == 1 {print $2}' /proc/mounts | sort -r); do umount -l "$mount" || true; done
  fi
  stop apiserver etcd
  ip netns delete "$name" 2>/dev/null || true
  if [ -d "$folder/kubelet" ]; then
    find /sys/fs/cgroup -depth -type d -path '*/kubepods*' -exec rmdir {} + 2>/dev/null || true
  fi
}

case $what in
  up)
    mkdir -p "$folder"
    ip netns add "$name"
    inside ip link set lo up
    inside ip link add pods type bridge
    inside ip address add "$gateway/24" dev pods
    inside ip address add "$api_service/32" dev lo # no kube-proxy is needed for this one
    inside ip link set pods up
    control_plane
    ;;
  node) node ;;
  kubectl) kubectl "$@" ;;
  down) down ;;
  *) echo "usage: cluster.sh up|node|kubectl|down FOLDER ..." >&2; exit 2 ;;
esac
