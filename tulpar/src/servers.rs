//! The server processes: settings in, a server of its own crate running, stopped by SIGTERM or Ctrl-C.

use crate::settings::Settings;
use crate::supervised::{Listening, Reporter};
use anyhow::{Context, bail};
use replica_server::Ending;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::future::Future;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

pub(crate) use crate::gateway::serve as gateway;

/// A meta server.
pub(crate) fn meta(settings: &Settings, reporter: &Reporter) -> anyhow::Result<()> {
    let config = settings.server()?;
    // One thread may be lost in thought about a million partitions; the session with ZooKeeper must not end by that.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stop = until_told_to_stop()?;
        let mut running = meta_server::MetaServer::start(config).await?;
        reporter.ready(Listening {
            grpc: Some(running.address()),
            redis: None,
            http: running.http(),
        });
        tokio::select! {
            _ = stop => {}
            reason = running.failed() => bail!("{reason}"),
        }
        running.shutdown().await;
        Ok(())
    })
}

/// A replica server. It has threads of its own; this one only waits for signals.
pub(crate) fn replica(settings: &Settings, reporter: &Reporter) -> anyhow::Result<()> {
    let config = settings.server()?;
    raise_open_files();
    let (told, stop) = oneshot::channel();
    let waiting = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            waiting.block_on(async {
                match until_told_to_stop() {
                    Ok(stopped) => {
                        let ending = match stopped.await {
                            Stop::Interrupted => Ending::AtOnce,
                            Stop::Terminated => Ending::HandOver,
                        };
                        // The server has ended by itself if nobody listens any more.
                        let _ = told.send(ending);
                    }
                    Err(error) => tracing::error!("{error:#}; stop this server with SIGKILL"),
                }
            });
        })?;
    let ready = |at: replica_server::Listening| {
        reporter.ready(Listening {
            grpc: Some(at.grpc),
            redis: Some(at.redis),
            http: at.http,
        });
    };
    Ok(replica_server::run(config, ready, stop)?)
}

/// By what a process was told to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// Ctrl-C, which in a terminal goes to all processes of a onebox.
    Interrupted,
    /// SIGTERM, as from whoever runs services: this process alone.
    Terminated,
}

/// Ends when the process gets SIGTERM or Ctrl-C. Both are caught from this call on.
pub(crate) fn until_told_to_stop() -> anyhow::Result<impl Future<Output = Stop>> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => Stop::Interrupted,
            _ = terminate.recv() => Stop::Terminated,
        }
    })
}

/// Takes all the open files that the system allows this process: RocksDB and connections need many.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::{Role, Settings};
    use std::path::Path;

    #[test]
    fn the_sample_configurations_have_only_keys_that_exist() {
        let load = |role, file| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../deploy")
                .join(file);
            let settings = Settings::load(role, Some(&path)).unwrap();
            settings.log().unwrap();
            settings
        };
        let meta = load(Role::Meta, "meta.toml").server::<meta_server::MetaConfig>();
        let defaults = meta_server::MetaConfig::default();
        assert_eq!(
            meta.unwrap(),
            meta_server::MetaConfig {
                data_dir: "/var/lib/tulpar/meta".into(),
                ..defaults
            }
        );
        let replica = load(Role::Replica, "replica.toml").server::<replica_server::ReplicaConfig>();
        let expected = replica_server::ReplicaConfig {
            name: "replica-1".into(),
            data_dir: "/var/lib/tulpar/replica".into(),
            ..replica_server::ReplicaConfig::default()
        };
        assert_eq!(format!("{:?}", replica.unwrap()), format!("{expected:?}"));
        let gateway = load(Role::Gateway, "gateway.toml").server::<crate::gateway::GatewayConfig>();
        let expected = crate::gateway::GatewayConfig::default();
        assert_eq!(format!("{:?}", gateway.unwrap()), format!("{expected:?}"));
    }
}
