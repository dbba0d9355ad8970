//! Which ensemble, where in it, and as whom: read from configuration, refused with a sentence when it can not be right.

use std::fmt;
use std::time::Duration;

/// Where the cluster's documents are.
#[derive(Clone)]
pub struct ZooKeeperOptions {
    /// `host:port,host:port,...`
    pub(super) servers: String,
    /// A path, without a slash at its end.
    pub(super) chroot: String,
    pub(super) user: Option<User>,
    pub(super) session_timeout: Duration,
}

#[derive(Clone)]
pub(super) struct User {
    name: String,
    password: String,
}

/// Why the keys about ZooKeeper can not be right.
#[derive(Debug, thiserror::Error)]
#[error("zookeeper = \"{given}\": {why}")]
pub struct InvalidEnsemble {
    given: String,
    why: &'static str,
}

impl ZooKeeperOptions {
    /// Reads `host:port,host:port,.../chroot`. Without a user (an empty name) nobody needs to say who he is.
    pub fn new(
        ensemble: &str,
        user: &str,
        password: &str,
        session_timeout: Duration,
    ) -> Result<Self, InvalidEnsemble> {
        let invalid = |why| InvalidEnsemble {
            given: ensemble.into(),
            why,
        };
        let Some((servers, path)) = ensemble.split_once('/') else {
            return Err(invalid(
                "the cluster's path is missing: host:port,.../tulpar/NAME",
            ));
        };
        let port = |server: &str| {
            let (host, port) = server.rsplit_once(':')?;
            (!host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)).then_some(())
        };
        if !servers.split(',').all(|server| port(server).is_some()) {
            return Err(invalid("its servers are not host:port,host:port,..."));
        }
        let segment = |segment: &str| {
            !matches!(segment, "" | "." | ".." | "zookeeper")
                && segment
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if !path.split('/').all(segment) {
            return Err(invalid(
                "a path's parts are of A-Z a-z 0-9 - _ . and none of them is 'zookeeper', which is ZooKeeper's own",
            ));
        }
        if user.is_empty() != password.is_empty() || user.contains(':') {
            return Err(invalid(
                "zookeeper_user and zookeeper_password are given both or not at all, the user without a colon",
            ));
        }
        if session_timeout < Duration::from_millis(100) {
            return Err(invalid("zookeeper_session_timeout is at least 100ms"));
        }
        Ok(Self {
            servers: servers.into(),
            chroot: format!("/{path}"),
            user: (!user.is_empty()).then(|| User {
                name: user.into(),
                password: password.into(),
            }),
            session_timeout,
        })
    }
}

impl User {
    /// As ZooKeeper's digest scheme wants it.
    pub(super) fn digest(&self) -> String {
        format!("{}:{}", self.name, self.password)
    }
}

/// Without the password.
impl fmt::Debug for ZooKeeperOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.servers, self.chroot)?;
        match &self.user {
            Some(user) => write!(f, " as {}", user.name),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ensemble: &str) -> Result<ZooKeeperOptions, InvalidEnsemble> {
        ZooKeeperOptions::new(ensemble, "", "", Duration::from_secs(2))
    }

    #[test]
    fn servers_and_path_are_told_apart() {
        let options = read("zk-1:2181,[::1]:2182/tulpar/production").unwrap();
        assert_eq!(options.servers, "zk-1:2181,[::1]:2182");
        assert_eq!(options.chroot, "/tulpar/production");
    }

    #[test]
    fn what_can_not_be_right_is_refused_with_a_reason() {
        for (ensemble, why) in [
            ("zk-1:2181", "path is missing"),
            ("zk-1/tulpar", "host:port"),
            ("zk-1:2181,/tulpar", "host:port"),
            ("zk-1:0/tulpar", "host:port"),
            ("zk-1:2181/", "path's parts"),
            ("zk-1:2181/a//b", "path's parts"),
            ("zk-1:2181/zookeeper", "ZooKeeper's own"),
            ("zk-1:2181/a b", "path's parts"),
        ] {
            let error = read(ensemble).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(ensemble), "{error}");
        }
        let alone = ZooKeeperOptions::new("a:1/b", "somebody", "", Duration::from_secs(2));
        assert!(alone.unwrap_err().to_string().contains("both"));
    }

    #[test]
    fn a_password_is_not_printed() {
        let options =
            ZooKeeperOptions::new("a:1/b", "me", "secret", Duration::from_secs(2)).unwrap();
        assert_eq!(format!("{options:?}"), "a:1/b as me");
    }
}
