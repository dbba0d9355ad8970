//! Bad configurations, bad stores, bad peers: one clear error each, and nothing else is disturbed.

mod fake;

use fake::*;
use meta_server::{MetaConfig, MetaServer, Running, StartError};
use proto::meta::from_node::Message;
use proto::meta::{self, ListNodesRequest};
use proto::{PROTOCOL, common};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Request};

async fn alive(server: &Running) -> usize {
    let nodes = admin(server)
        .await
        .list_nodes(ListNodesRequest {})
        .await
        .unwrap()
        .into_inner()
        .nodes;
    nodes.iter().filter(|node| node.alive).count()
}

/// Starts what should not start; its error in one line.
async fn refused(config: MetaConfig) -> String {
    let error: StartError = MetaServer::start(config)
        .await
        .expect_err("it should not start");
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[tokio::test]
async fn what_can_not_start_says_why_in_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path()).await;
    let local = |name: &str| MetaConfig {
        listen: "127.0.0.1:0".into(),
        http: "127.0.0.1:0".into(),
        data_dir: directory.path().join(name),
        ..MetaConfig::default()
    };
    let taken = server.address().to_string();
    let port = refused(MetaConfig {
        listen: taken.clone(),
        ..local("other")
    })
    .await;
    assert!(
        port.starts_with(&format!("cannot listen on {taken}: ")),
        "{port}"
    );
    assert!(
        refused(local(""))
            .await
            .contains("in use by another meta server")
    );
    std::fs::write(directory.path().join("a file"), "").unwrap();
    assert!(refused(local("a file")).await.contains("a file"));
    let nonsense = MetaConfig {
        listen: "nowhere".into(),
        ..local("other")
    };
    assert!(
        refused(nonsense)
            .await
            .starts_with("cannot listen on nowhere")
    );
    for (admin_secret, cluster_secret) in [("", ""), ("x", ""), ("", "x")] {
        let open = MetaConfig {
            listen: "0.0.0.0:0".into(),
            admin_secret: admin_secret.into(),
            cluster_secret: cluster_secret.into(),
            ..local("other")
        };
        assert!(refused(open).await.contains("allow_unauthenticated"));
    }
    let allowed = MetaConfig {
        listen: "0.0.0.0:0".into(),
        allow_unauthenticated: true,
        ..local("other")
    };
    MetaServer::start(allowed).await.unwrap().shutdown().await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_damaged_store_is_never_taken_for_a_shorter_history() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path()).await;
    let _nodes = three_nodes(&server).await;
    admin(&server)
        .await
        .create_table(table("t", 2, 3))
        .await
        .unwrap();
    server.shutdown().await;
    let path = directory.path().join("cluster");
    let whole = std::fs::read(&path).unwrap();
    let config = MetaConfig {
        listen: "127.0.0.1:0".into(),
        http: String::new(),
        data_dir: directory.path().into(),
        ..MetaConfig::default()
    };
    for at in [0, 9, 13, 17, 25, whole.len() / 2, whole.len() - 40] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xFF;
        std::fs::write(&path, &damaged).unwrap();
        let error = refused(config.clone()).await;
        assert!(error.contains("is damaged at byte"), "byte {at}: {error}");
        assert_eq!(
            std::fs::read(&path).unwrap(),
            damaged,
            "what is left is for a person to look at"
        );
    }
    std::fs::write(&path, &whole).unwrap();
    MetaServer::start(config).await.unwrap().shutdown().await;
}

#[tokio::test]
async fn administration_needs_the_admin_secret_and_joining_the_cluster_secret() {
    let directory = tempfile::tempdir().unwrap();
    let server = start_with(MetaConfig {
        data_dir: directory.path().into(),
        admin_secret: "open sesame".into(),
        cluster_secret: "shibboleth".into(),
        ..MetaConfig::default()
    })
    .await;
    let mut operator = admin(&server).await;
    let with = |secret: &str| {
        let mut request = Request::new(ListNodesRequest {});
        request
            .metadata_mut()
            .insert("admin-secret", secret.parse().unwrap());
        request
    };
    let missing = operator.list_nodes(ListNodesRequest {}).await.unwrap_err();
    assert_eq!(missing.code(), Code::Unauthenticated);
    for wrong in ["", "open", "open sesamE", "open sesame and more"] {
        assert_eq!(
            operator.list_nodes(with(wrong)).await.unwrap_err().code(),
            Code::Unauthenticated
        );
    }
    operator.list_nodes(with("open sesame")).await.unwrap();
    assert_eq!(
        operator
            .create_table(table("t", 1, 1))
            .await
            .unwrap_err()
            .code(),
        Code::Unauthenticated
    );

    let stranger = join(&server, from_node(Message::Hello(hello(1))))
        .await
        .unwrap_err();
    assert_eq!(stranger.code(), Code::Unauthenticated);
    let mut member = hello(1);
    member.cluster_secret = "shibboleth".into();
    join(&server, from_node(Message::Hello(member)))
        .await
        .unwrap();
    server.shutdown().await;
}

#[tokio::test]
async fn a_node_that_does_not_say_what_it_must_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path()).await;
    let spoilt = |spoil: fn(&mut meta::Hello)| {
        let mut hello = hello(1);
        spoil(&mut hello);
        from_node(Message::Hello(hello))
    };
    for (first, code, said) in [
        (
            meta::FromNode { message: None },
            Code::InvalidArgument,
            "hello",
        ),
        (
            from_node(Message::Beat(meta::Beat::default())),
            Code::InvalidArgument,
            "hello",
        ),
        (
            spoilt(|hello| hello.protocol = PROTOCOL + 1),
            Code::FailedPrecondition,
            "protocol",
        ),
        (
            spoilt(|hello| hello.address = None),
            Code::InvalidArgument,
            "address",
        ),
        (
            spoilt(|hello| hello.address = Some(common::NodeAddress::default())),
            Code::InvalidArgument,
            "node id",
        ),
    ] {
        let status = join(&server, first).await.unwrap_err();
        assert_eq!(status.code(), code);
        assert!(status.message().contains(said), "{status}");
    }
    for second in [
        Message::Hello(hello(1)),
        Message::Opened(meta::Opened { partition: None }),
        Message::Report(meta::Report {
            replicas: vec![meta::ReplicaReport::default()],
            complete: true,
        }),
        Message::Proposals(meta::Proposals {
            proposals: vec![meta::Proposal::default()],
        }),
    ] {
        let (say, mut heard) = join(&server, from_node(Message::Hello(hello(1))))
            .await
            .unwrap();
        say.send(from_node(second)).await.unwrap();
        let ended = loop {
            match heard.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it should be told why"),
                Err(status) => break status,
            }
        };
        assert_eq!(ended.code(), Code::InvalidArgument, "{ended}");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn strange_but_whole_messages_of_a_node_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path()).await;
    let mut nodes = three_nodes(&server).await;
    admin(&server)
        .await
        .create_table(table("t", 1, 3))
        .await
        .unwrap();
    let far = Some(common::PartitionId {
        table: u32::MAX,
        index: u32::MAX,
    });
    let configuration = |ballot| common::Configuration {
        ballot,
        epoch: u64::MAX,
        primary: Some(common::Member {
            node: u64::MAX,
            signature: Some(common::LearnSignature::default()),
        }),
        secondaries: vec![],
    };
    let (say, mut heard) = join(&server, from_node(Message::Hello(hello(9))))
        .await
        .unwrap();
    let replica = meta::ReplicaReport {
        partition: far,
        ballot: u64::MAX,
        ..meta::ReplicaReport::default()
    };
    let proposal = |partition, ballot| meta::Proposal {
        partition,
        configuration: Some(configuration(ballot)),
    };
    let near = Some(common::PartitionId { table: 1, index: 0 });
    let proposals = vec![
        proposal(far, u64::MAX),
        proposal(near, u64::MAX),
        proposal(near, 2),
        proposal(near, 0),
    ];
    for message in [
        Message::Report(meta::Report {
            replicas: vec![replica],
            complete: false,
        }),
        Message::Opened(meta::Opened { partition: far }),
        Message::Deleted(meta::Deleted { partition: near }),
        Message::Proposals(meta::Proposals { proposals }),
    ] {
        say.send(from_node(message)).await.unwrap();
    }
    let stored = loop {
        let message = heard.message().await.unwrap().expect("the stream goes on");
        if let Some(meta::to_node::Message::Stored(stored)) = message.message {
            break stored;
        }
    };
    assert_eq!(
        stored.configurations.len(),
        3,
        "what is stored answers each for a partition that there is"
    );
    let first = stored.configurations[0].configuration.clone();
    nodes[0]
        .until(|replicas| replicas.get(&(1, 0)) == Some(&first))
        .await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_message_too_large_ends_its_call_only() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path()).await;
    let _nodes = three_nodes(&server).await;
    let error = admin(&server)
        .await
        .create_table(table(&"x".repeat(17 << 20), 1, 1))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange, "{error}");
    let (say, mut heard) = join(&server, from_node(Message::Hello(hello(9))))
        .await
        .unwrap();
    let mut large = hello(9);
    large.cluster_secret = "x".repeat(17 << 20);
    say.send(from_node(Message::Hello(large))).await.unwrap();
    while let Ok(Some(_)) = heard.message().await {}
    assert_eq!(alive(&server).await, 3);
    server.shutdown().await;
}

#[tokio::test]
async fn garbage_on_the_port_ends_its_connection_only() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path()).await;
    let _nodes = three_nodes(&server).await;
    for garbage in [
        &b"\0\xFF\x13garbage"[..],
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"*2147483647\r\n$4\r\n",
    ] {
        let mut connection = TcpStream::connect(server.address()).await.unwrap();
        connection.write_all(&garbage.repeat(100)).await.ok();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await.ok();
    }
    assert_eq!(alive(&server).await, 3);
    server.shutdown().await;
}

#[tokio::test]
async fn a_node_that_takes_no_messages_loses_its_stream_and_disturbs_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path()).await;
    let _nodes = three_nodes(&server).await;
    admin(&server)
        .await
        .create_table(table("t", 1, 3))
        .await
        .unwrap();
    let (say, deaf) = join(&server, from_node(Message::Hello(hello(9))))
        .await
        .unwrap();
    let proposal = meta::Proposal {
        partition: Some(common::PartitionId { table: 1, index: 0 }),
        configuration: Some(common::Configuration {
            ballot: 77,
            epoch: 0,
            primary: Some(common::Member {
                node: 9,
                signature: Some(common::LearnSignature::default()),
            }),
            secondaries: vec![],
        }),
    };
    let proposals = meta::Proposals {
        proposals: vec![proposal],
    };
    // Each is answered, and the answers are never read.
    let talking = tokio::spawn(async move {
        while say
            .send(from_node(Message::Proposals(proposals.clone())))
            .await
            .is_ok()
        {}
    });
    while alive(&server).await > 3 {}
    talking.abort();
    drop(deaf);
    server.shutdown().await;
}

#[tokio::test]
async fn a_node_that_falls_silent_loses_its_stream() {
    let directory = tempfile::tempdir().unwrap();
    let server = start_with(MetaConfig {
        data_dir: directory.path().into(),
        beat_timeout: Duration::from_millis(1),
        ..MetaConfig::default()
    })
    .await;
    let (_say, mut heard) = join(&server, from_node(Message::Hello(hello(9))))
        .await
        .unwrap();
    let why = loop {
        match heard.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it should be told why"),
            Err(status) => break status,
        }
    };
    assert!(why.message().contains("has sent nothing"), "{why}");
    server.shutdown().await;
}
