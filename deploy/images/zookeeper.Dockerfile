# Debian's ZooKeeper. MYID and SERVERS (its names, in the order of their ids) tell it its ensemble; data is kept under /var/lib/zookeeper: give it a volume there.
ARG RELEASE=bookworm
FROM zookeeper-base:${RELEASE}
COPY zookeeper-start /usr/bin/zookeeper-start
RUN ["/usr/bin/install", "-d", "-m", "0700", "-o", "10001", "-g", "10001", "/var/lib/zookeeper"]
USER 10001:10001
ENTRYPOINT ["/usr/bin/zookeeper-start"]
