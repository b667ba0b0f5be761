# shellcheck shell=bash
# What tests/helm/node checks of image and chart, once the node and Kafka are there: from the installation to the removal.
# Each check is a function that ends with `passed`; a command that fails ends the script, and `step` says in what.
# Must not know how the node came about.
# shellcheck disable=SC2154 # scratch, run, kafka_port and node_address are tests/helm/node's

readonly namespace=paybridge-node release=paybridge
# How long anything may take that is waited for: a pod on a busy machine; a changed Secret, which the kubelet brings in its
# own time.
readonly limit_s=120 secret_limit_s=180
step=

run_checks() {
    write_values
    check_installation
    check_helm_test
    check_webhook
    check_pods
    check_successor
    check_rotated_secret
    check_refused_configuration
    check_rolled_back_configuration
    check_two_workloads
    check_disk
    check_orphaned_disk
    check_removal
}

passed() {
    echo "ok: $step${1:+ ($1)}"
}

# --- the checks ------------------------------------------------------------------------------------------------------

check_installation() {
    local begin=$SECONDS
    step='the chart is installed, its hook has made the topics and found nothing wrong, and two pods are ready'
    make_namespace
    helm -n "$namespace" install "$release" helm/paybridge -f "$scratch/values.yaml" --wait --timeout "${limit_s}s" >"$scratch/log" 2>&1
    [ "$(ready_pods | wc -l)" = 2 ]
    passed "$((SECONDS - begin)) s"
}

check_helm_test() {
    step='helm test: a signed webhook from another pod is read back from its topic'
    helm -n "$namespace" test "$release" --timeout "${limit_s}s" >"$scratch/log" 2>&1
    passed
}

check_webhook() {
    step='a signed webhook from another pod to the Service, by its name, and its event on its topic'
    send_and_find "$release" payments unipaas authorization-update
    passed "event $event"
}

# What the kernel says of a container, whatever the manifests say; probes and metrics; memory at rest.
check_pods() {
    local pod process notes=()
    step='nobody, no capability, seccomp, a root file system that is read-only; alive, ready, and measured'
    for pod in $(ready_pods); do
        process=$(process_of "$pod")
        grep -qE '^Uid:\s+65532\s+65532\s+65532\s+65532$' "/proc/$process/status"
        grep -qE '^Gid:\s+65532\s+65532\s+65532\s+65532$' "/proc/$process/status"
        grep -qE '^CapBnd:\s+0+$' "/proc/$process/status"
        grep -qE '^NoNewPrivs:\s+1$' "/proc/$process/status"
        grep -qE '^Seccomp:\s+2$' "/proc/$process/status"
        awk '$5 == "/" { print $6 }' "/proc/$process/mountinfo" | grep -qE '(^|,)ro(,|$)'
        [ "$(of_pod "$pod" '{.status.containerStatuses[0].restartCount}')" = 0 ]
        admin "$pod" livez >/dev/null
        admin "$pod" readyz >/dev/null
        has_metric "$pod" 'paybridge_ready 1'
        notes+=("$(awk '/^VmRSS:/ { printf "%.0f MiB", $2 / 1024 }' "/proc/$process/status")")
    done
    passed "resident at rest: ${notes[*]}"
}

check_successor() {
    local pod begin=$SECONDS ended watches=()
    step='a deleted pod ends in order, and its successor becomes ready'
    pod=$(ready_pods | head -n 1)
    kubectl -n "$namespace" logs --follow "$pod" >"$scratch/pod.log" &
    watches+=($!)
    kubectl -n "$namespace" get pod "$pod" --watch \
        -o 'jsonpath={.status.containerStatuses[0].state.terminated.exitCode}{"\n"}' >"$scratch/exit" 2>/dev/null &
    watches+=($!)
    kubectl -n "$namespace" delete pod "$pod" --wait=false >/dev/null
    kubectl -n "$namespace" wait --for=delete "pod/$pod" --timeout "${limit_s}s" >/dev/null
    ended=$((SECONDS - begin))
    # The log ends with the pod, and then it may be gone already.
    kill "${watches[@]}" 2>/dev/null || true
    [ "$(grep . "$scratch/exit" | tail -n 1)" = 0 ]
    grep -q 'all records are acknowledged' "$scratch/pod.log"
    kubectl -n "$namespace" rollout status "deployment/$release" --timeout "${limit_s}s" >/dev/null
    [ "$(ready_pods | grep -vcxF "$pod")" = 2 ]
    send_and_find "$release" payments unipaas authorization-update
    passed "exit code 0 after $ended s"
}

check_rotated_secret() {
    local before begin=$SECONDS pod
    step='a changed Secret is in force without a new pod'
    before=$(identities)
    printf 'rotated-%s\n' "$(openssl rand -hex 24)" >"$scratch/keys/unipaas.key"
    write_secret | kubectl -n "$namespace" apply -f - >/dev/null 2>"$scratch/log"
    for pod in $(ready_pods); do
        eventually "$secret_limit_s" has_metric "$pod" 'paybridge_key_reloads_total{source="unipaas",result="used"} 1'
    done
    send_and_find "$release" payments unipaas authorization-update
    [ "$(identities)" = "$before" ]
    passed "$((SECONDS - begin)) s"
}

check_refused_configuration() {
    local before begin=$SECONDS
    step='the hook refuses an upgrade to a Kafka that is not there, and no pod has changed'
    before=$(identities)
    fails upgrade --atomic --set kafka.bootstrapServers=nowhere.example:9092 --set check.backoffLimit=0
    kubectl -n "$namespace" logs "job/$release-check" --container topics >"$scratch/log"
    grep -q 'Kafka' "$scratch/log"
    [ "$(identities)" = "$before" ]
    passed "$((SECONDS - begin)) s"
}

check_rolled_back_configuration() {
    local before begin=$SECONDS
    step='helm upgrade --atomic takes back a configuration that no pod can start with, and the old pods serve on'
    before=$(identities)
    fails upgrade --atomic --set check.enabled=false --set 'sources.unipaas.secretFiles={absent.key}' --timeout 45s
    grep -q 'rolled back' "$scratch/log"
    [ "$(helm -n "$namespace" status "$release" -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["info"]["status"])')" = deployed ]
    kubectl -n "$namespace" rollout status "deployment/$release" --timeout "${limit_s}s" >/dev/null
    [ "$(identities)" = "$before" ]
    send_and_find "$release" payments unipaas authorization-update
    passed "$((SECONDS - begin)) s"
}

# The other mode, as a release beside the first: what one workload takes in, the other decides, without calling anybody.
check_two_workloads() {
    local session
    step='ingress and engine apart: a session that waits is decided, as a dry run'
    helm -n "$namespace" install "$release-split" helm/paybridge -f "$scratch/values.yaml" -f "$scratch/split.yaml" \
        --wait --timeout "${limit_s}s" >"$scratch/log" 2>&1
    send_and_find "$release-split-ingress" trial sg-main ready-to-confirm --signing-key /etc/paybridge/keys/smart-glocal-private.pem
    session=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["key"])' <<<"$record")
    record=$(run_pod "$release-split-engine" tail confirmation.outcome --from-beginning --key "$session" --count 1 | grep '^{')
    grep -q '"result":"RESULT_DRY_RUN"' <<<"$record"
    helm -n "$namespace" uninstall "$release-split" --wait --timeout "${limit_s}s" >"$scratch/log" 2>&1
    passed "session $session"
}

# One pod with a disk. While Kafka is away nothing waits for its successor to be ready: it is so when Kafka is back.
check_disk() {
    local begin=$SECONDS pod=$release-spool-0 before
    step='a pod with a disk answers 200 while Kafka is away, is deleted, and its successor delivers what is on the disk'
    make_disk
    helm -n "$namespace" install "$release-spool" helm/paybridge -f "$scratch/values.yaml" -f "$scratch/spool.yaml" \
        --wait --timeout "${limit_s}s" >"$scratch/log" 2>&1
    kafka_order KILL
    store_webhooks 3
    eventually "$limit_s" has_metric "$pod" 'paybridge_spool_records 3'
    before=$(of_pod "$pod" '{.metadata.uid}')
    kubectl -n "$namespace" delete pod "$pod" --timeout "${limit_s}s" >/dev/null
    eventually "$limit_s" has_metric "$pod" 'paybridge_spool_records 3'
    [ "$(of_pod "$pod" '{.metadata.uid}')" != "$before" ]
    kafka_order START
    eventually "$limit_s" has_metric "$pod" 'paybridge_spool_records 0'
    find_stored
    kubectl -n "$namespace" wait --for=condition=Ready "pod/$pod" --timeout "${limit_s}s" >/dev/null
    kubectl -n "$namespace" exec "$pod" -- /paybridge spool status >"$scratch/status"
    grep -q '^waiting: 0 files' "$scratch/status"
    grep -q '^dead: 0 files' "$scratch/status"
    passed "$((SECONDS - begin)) s"
}

# The commands of the chart's README, where the release is gone.
check_orphaned_disk() {
    local begin=$SECONDS
    step='a release is removed while Kafka is away, its claim stays, and a Job publishes what is on it'
    kafka_order KILL
    store_webhooks 2
    helm -n "$namespace" uninstall "$release-spool" --wait --timeout "${limit_s}s" >"$scratch/log" 2>&1
    kubectl -n "$namespace" get persistentvolumeclaim "spool-$release-spool-0" >/dev/null
    kafka_order START
    helm template "$release-spool" helm/paybridge -n "$namespace" -f "$scratch/values.yaml" -f "$scratch/spool.yaml" \
        --show-only templates/drain.yaml --set spool.enabled=false --set "spool.drainClaims={spool-$release-spool-0}" \
        >"$scratch/drain.yaml" 2>"$scratch/log"
    kubectl -n "$namespace" apply -f "$scratch/drain.yaml" >"$scratch/log"
    kubectl -n "$namespace" wait --for=condition=Complete job --selector app.kubernetes.io/component=drain --timeout "${limit_s}s" >"$scratch/log"
    kubectl -n "$namespace" logs --selector app.kubernetes.io/component=drain --tail -1 >"$scratch/log"
    grep -q '^2 records published, 0 left$' "$scratch/log"
    grep -q '^dead: 0 files' "$scratch/log"
    find_stored
    kubectl -n "$namespace" delete -f "$scratch/drain.yaml" >/dev/null
    kubectl -n "$namespace" delete persistentvolumeclaim "spool-$release-spool-0" --timeout "${limit_s}s" >/dev/null
    kubectl delete persistentvolume "$namespace" --timeout "${limit_s}s" >/dev/null
    passed "$((SECONDS - begin)) s"
}

check_removal() {
    step='helm uninstall leaves nothing but what hooks and people made'
    helm -n "$namespace" uninstall "$release" --wait --timeout "${limit_s}s" >"$scratch/log" 2>&1
    eventually "$limit_s" nothing_left
    passed
}

# --- what they use ---------------------------------------------------------------------------------------------------

# Sends one webhook to a release from a pod of its own, and reads its event from another. Takes the name of the workload
# that takes webhooks, its topics' prefix, and the arguments of `send`. Leaves `event` and `record`.
send_and_find() {
    local workload=$1 prefix=$2 answer topic
    shift 2
    answer=$(run_pod "$workload" send "$@" --url "http://${workload%-ingress}.$namespace.svc")
    event=$(event_of "$answer")
    [ -n "$event" ]
    record=$(run_pod "$workload" tail "$2" --from-beginning --event-id "$event" --count 1 | grep '^{')
    topic=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["topic"])' <<<"$record")
    case $topic in
        "$prefix".*."$2".v1) ;;
        *) return 1 ;;
    esac
}

# The event that an answer to `send` names; nothing, unless it says that the webhook was accepted.
event_of() {
    sed -n 's/^200 .*"status":"accepted","event_id":"\([0-9a-f]*\)".*/\1/p' <<<"$1"
}

# Sends so many webhooks to the pod with a disk, and leaves their events in `stored`.
store_webhooks() {
    local count=$1 answer
    stored=()
    while [ "${#stored[@]}" -lt "$count" ]; do
        answer=$(run_pod "$release-spool" send helm-test received --url "http://$release-spool.$namespace.svc")
        event=$(event_of "$answer")
        [ -n "$event" ]
        stored+=("$event")
    done
}

# Reads each of them from its topic, with the configuration of the release that has no disk.
find_stored() {
    for event in "${stored[@]}"; do
        run_pod "$release" tail received --from-beginning --event-id "$event" --count 1 | grep -q '^{'
    done
}

# Runs one command of the image in a pod of its own, with a workload's configuration and all keys, and prints its output.
run_pod() {
    local workload=$1 name=once-$RANDOM$RANDOM phase
    shift
    python3 - "$name" "$workload" "$image" "$@" <<'PROGRAM' | kubectl -n "$namespace" apply -f - >/dev/null
import json, sys

name, workload, image, *arguments = sys.argv[1:]
sources = ["helm-test", "unipaas", "sg-main"]
mounts = [{"name": "keys", "mountPath": f"/etc/paybridge/sources/{source}"} for source in sources]
container = {
    "name": "once",
    "image": image,
    "imagePullPolicy": "Never",
    "args": arguments,
    "env": [{"name": "PAYBRIDGE_CONFIG", "value": "/etc/paybridge/config/paybridge.toml"}],
    "volumeMounts": [
        {"name": "config", "mountPath": "/etc/paybridge/config"},
        {"name": "keys", "mountPath": "/etc/paybridge/keys"},
        *mounts,
    ],
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
}
pod = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": name},
    "spec": {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": workload}},
            {"name": "keys", "secret": {"secretName": "paybridge-keys"}},
        ],
    },
}
json.dump(pod, sys.stdout)
PROGRAM
    eventually "$limit_s" has_ended "$name"
    kubectl -n "$namespace" logs "$name" | tee "$scratch/log"
    phase=$(of_pod "$name" '{.status.phase}')
    kubectl -n "$namespace" delete pod "$name" --wait=false >/dev/null
    [ "$phase" = Succeeded ]
}

has_ended() {
    case $(of_pod "$1" '{.status.phase}') in
        Succeeded | Failed) ;;
        *) return 1 ;;
    esac
}

of_pod() {
    kubectl -n "$namespace" get pod "$1" -o "jsonpath=$2"
}

# What a pod's admin port answers to a path.
admin() {
    kubectl get --raw "/api/v1/namespaces/$namespace/pods/$1:9090/proxy/$2"
}

has_metric() {
    admin "$1" metrics >"$scratch/metrics" && grep -qxF "$2" "$scratch/metrics"
}

# The daemon's pods that are ready, by name.
ready_pods() {
    kubectl -n "$namespace" get pods --selector "app.kubernetes.io/instance=$release,app.kubernetes.io/component=bridge" \
        -o 'jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' |
        sed -n 's/ True$//p'
}

# Each daemon's pod with what would change if it were replaced or started anew.
identities() {
    kubectl -n "$namespace" get pods --selector "app.kubernetes.io/instance=$release,app.kubernetes.io/component=bridge" \
        -o 'jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort
}

# The process id, on this machine, of the daemon in a pod.
process_of() {
    local uid file
    uid=$(of_pod "$1" '{.metadata.uid}')
    # Processes that end meanwhile are not it.
    { grep -lF "$uid" /proc/[0-9]*/cgroup 2>/dev/null || true; } | while read -r file; do
        if grep -qx paybridge "${file%cgroup}comm" 2>/dev/null; then
            basename "${file%/cgroup}"
        fi
    done
}

# `helm COMMAND` on the release with its values and more, which has to fail.
fails() {
    local command=$1
    shift
    if helm -n "$namespace" "$command" "$release" helm/paybridge -f "$scratch/values.yaml" "$@" >"$scratch/log" 2>&1; then
        echo "helm $command $* succeeded" >>"$scratch/log"
        return 1
    fi
}

nothing_left() {
    [ -z "$(kubectl -n "$namespace" get deployments,replicasets,pods,services,configmaps,serviceaccounts,poddisruptionbudgets \
        --selector "app.kubernetes.io/instance=$release,app.kubernetes.io/component notin (test,check)" -o name)" ]
}

# Within so many seconds a command succeeds.
eventually() {
    local end=$((SECONDS + $1)) limit=$1
    shift
    until "$@"; do
        if [ "$SECONDS" -ge "$end" ]; then
            echo "not within $limit s: $*" >>"$scratch/log"
            return 1
        fi
        sleep 0.5
    done
}

# --- what is installed -----------------------------------------------------------------------------------------------

# The namespace, the keys that the sources name, and Kafka by a name of the cluster.
make_namespace() {
    kubectl apply -f - >"$scratch/log" <<MANIFESTS
apiVersion: v1
kind: Namespace
metadata:
  name: $namespace
  labels:
    pod-security.kubernetes.io/enforce: restricted
---
apiVersion: v1
kind: Service
metadata:
  name: kafka
  namespace: $namespace
spec:
  ports:
    - port: $kafka_port
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: kafka
  namespace: $namespace
  labels:
    kubernetes.io/service-name: kafka
addressType: IPv4
ports:
  - port: $kafka_port
endpoints:
  - addresses: [$node_address]
MANIFESTS
    cp -r tests/fixtures/keys "$scratch/keys"
    write_secret | kubectl -n "$namespace" apply -f - >>"$scratch/log"
}

# A folder of the node, for the claim of the one pod that has a disk.
make_disk() {
    mkdir -p "$run/disk"
    kubectl apply -f - >"$scratch/log" <<MANIFEST
apiVersion: v1
kind: PersistentVolume
metadata:
  name: $namespace
spec:
  capacity: {storage: 2Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: $namespace
  persistentVolumeReclaimPolicy: Retain
  local: {path: $run/disk}
  nodeAffinity:
    required:
      nodeSelectorTerms:
        - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [real-0]}]
MANIFEST
}

write_secret() {
    kubectl create secret generic paybridge-keys --dry-run=client -o yaml --from-file="$scratch/keys"
}

write_values() {
    image=localhost/paybridge:$(sed -n 's/^appVersion: "\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' helm/paybridge/Chart.yaml)
    cat >"$scratch/values.yaml" <<VALUES
image:
  repository: localhost/paybridge
  # Nothing is pulled: the image was put on the node.
  pullPolicy: Never
kafka:
  bootstrapServers: kafka.$namespace.svc:$kafka_port
  partitions: 3
  replicationFactor: 1
sources:
  helm-test:
    provider: standard-webhooks
    existingSecret: paybridge-keys
    secretFiles: [standard-webhooks.key]
  unipaas:
    provider: unipaas
    existingSecret: paybridge-keys
    secretFiles: [unipaas.key]
helmTest:
  source: helm-test
check:
  createTopics: true
shutdown:
  drainDelayMs: 2000
  graceMs: 10000
VALUES
    cat >"$scratch/split.yaml" <<VALUES
mode: split
kafka:
  topicPrefix: trial
sources:
  sg-main:
    provider: smart-glocal
    existingSecret: paybridge-keys
    publicKeyFiles: [smart-glocal-public.pem]
confirmation:
  enabled: true
  dryRun: true
  groupId: trial
  rules:
    - name: everything
      when: session.operations.size() > 0
      then: confirm
workload:
  replicas: 1
VALUES
    cat >"$scratch/spool.yaml" <<VALUES
spool:
  enabled: true
  volume:
    storageClassName: $namespace
helmTest:
  source: ""
workload:
  replicas: 1
VALUES
}
