# Debian's ZooKeeper. MYID and SERVERS (its names, in the order of their ids) tell it its ensemble; data is kept under /var/lib/zookeeper.
ARG RELEASE=bookworm
FROM zookeeper-base:${RELEASE}
COPY zookeeper-start /usr/bin/zookeeper-start
RUN ["/usr/bin/install", "-d", "-m", "0700", "-o", "zookeeper", "-g", "zookeeper", "/var/lib/zookeeper"]
USER zookeeper
VOLUME /var/lib/zookeeper
ENTRYPOINT ["/usr/bin/zookeeper-start"]
