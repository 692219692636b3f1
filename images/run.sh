#!/bin/sh
# Starts Kafka or Cassandra in a container as `make up` does, with the Java of its image and the options of /etc/vigie:
#   run.sh kafka NODE HEAP_MB PROPERTIES    formats the broker's folder first, once
#   run.sh cassandra HEAP_MB
set -eu
mkdir -p /state/tmp /state/data

java_with() { # HEAP_MB, and the words of the command line
    heap=$1
    shift
    exec java "-Xmx${heap}m" "-Xms$((heap / 2))m" -XX:+ExitOnOutOfMemoryError "$@"
}

case $1 in
kafka)
    file=/etc/vigie/$4
    if [ ! -f "/state/data/kafka-$2/meta.properties" ]; then
        java -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp '/opt/kafka/libs/*' \
            kafka.tools.StorageTool format --cluster-id "$KAFKA_CLUSTER" --config "$file" @/secrets/kafka_format
    fi
    java_with "$3" "@/etc/vigie/kafka-$2.args" kafka.Kafka "$file"
    ;;
cassandra)
    java_with "$2" @/etc/vigie/cassandra.args org.apache.cassandra.service.CassandraDaemon
    ;;
esac
