# shellcheck shell=bash
# One node of Kafka for a bash script that sources this file, from the jars that the suite has in its cache folder too.
# `kafka_start ADDRESS PORT` starts it, without authentication, on an address of this machine, and returns when it serves;
# `kafka_stop` ends it, and so does the end of the script, however that comes. Must not know what the node is used for.

kafka_checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# How long a start may take: seconds on an idle machine, more while something is compiled beside it.
kafka_start_limit_s=120

# Its controller listens on the next port.
kafka_start() {
    local address=$1 port=$2 jars java
    jars=$(kafka_jars)
    # A short life is what it is tuned for: the first compiler only, one collector thread.
    java=(
        "${JAVA_HOME:+$JAVA_HOME/bin/}java" -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1
        "-Dlog4j2.configurationFile=$kafka_checkout/tests/kafka/log4j2.properties" -cp "$jars/*"
    )
    kafka_folder=$(mktemp -d)
    kafka_properties "$address" "$port" >"$kafka_folder/server.properties"
    "${java[@]}" kafka.tools.StorageTool format --standalone -t cGF5YnJpZGdlLXRlc3Rzcw \
        -c "$kafka_folder/server.properties" >"$kafka_folder/kafka.log" 2>&1 ||
        kafka_fail "its storage cannot be formatted"
    # From here on the supervisor removes the folder. A session of its own keeps an interrupt from it: that ends the script,
    # and the end of the script ends Kafka.
    coproc kafka_supervisor {
        exec setsid sh "$kafka_checkout/tests/kafka/supervise.sh" "$kafka_folder" \
            "${java[@]}" kafka.Kafka "$kafka_folder/server.properties"
    }
    kafka_supervisor_process=${kafka_supervisor_PID:?}
    kafka_order START
    kafka_wait
}

# Returns when it is gone.
kafka_stop() {
    [ -n "${kafka_supervisor_process:-}" ] || return 0
    eval "exec ${kafka_supervisor[1]}>&-"
    wait "$kafka_supervisor_process" || true
    kafka_supervisor_process=
}

# Gives the supervisor an order, and its answer to the caller in `kafka_answer`: a subshell would not have its pipes.
kafka_order() {
    echo "$1" >&"${kafka_supervisor[1]}"
    read -r kafka_answer <&"${kafka_supervisor[0]}"
}

kafka_wait() {
    local end=$((SECONDS + kafka_start_limit_s))
    until grep -q 'Kafka Server started' "$kafka_folder/kafka.log"; do
        kafka_order ALIVE
        [ "$kafka_answer" = alive ] || kafka_fail "it ended"
        [ "$SECONDS" -lt "$end" ] || kafka_fail "it does not serve after $kafka_start_limit_s s"
        sleep 0.2
    done
}

kafka_fail() {
    echo "Kafka: $1; the end of its log:" >&2
    tail -n 40 "$kafka_folder/kafka.log" >&2
    exit 1
}

# The folder of its jars, fetched unless they are there. The suite's tests/suite/support/cache.rs keeps it by the same rules.
kafka_jars() {
    local pom=$kafka_checkout/tests/kafka/pom.xml cache version folder
    cache=${PAYBRIDGE_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/paybridge}
    version=$(sed -n 's,.*<kafka.version>\(.*\)</kafka.version>.*,\1,p' "$pom")
    folder=$cache/kafka-$version-$(kafka_digest "$pom")
    mkdir -p "$cache"
    (
        flock 9
        if [ ! -e "$folder.whole" ]; then
            rm -rf "$folder"
            mkdir "$folder"
            mvn -B -q -f "$pom" dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$folder" >&2
            touch "$folder.whole"
        fi
    ) 9>"$folder.lock"
    echo "$folder"
}

# As cache.rs has it: the first half dozen bytes of the SHA-256 of the SHA-256 of each file.
kafka_digest() {
    openssl dgst -sha256 -binary "$1" | sha256sum | cut -c1-12
}

kafka_properties() {
    local address=$1 port=$2
    cat <<PROPERTIES
process.roles=broker,controller
node.id=1
log.dirs=$kafka_folder/data
listeners=PLAIN://$address:$port,CONTROLLER://$address:$((port + 1))
advertised.listeners=PLAIN://$address:$port
listener.security.protocol.map=PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=$address:$((port + 1))
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
PROPERTIES
}
