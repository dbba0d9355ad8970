//! No call of a service for operators is answered without the admin secret, and none between servers without the cluster's: every one
//! that the .proto files name, also one that was added a moment ago.

use proto::peer::checkpoint_part::Part;
use proto::peer::{CheckpointPart, CheckpointStart, DigestRequest, Greeting};
use proto::secret::ADMIN_SECRET;
use tests::doors::runtime;
use tests::program::{self, command};
use tests::{Cluster, Options};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

const ADMIN: &str = "open sesame";
const CLUSTER: &str = "shibboleth";

/// The paths of every call of a service, as its .proto file has them.
fn calls(file: &str, service: &str) -> Vec<String> {
    let path = format!("{}/../proto/protos/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("the file is there");
    let word = |line: &str, before: &str| {
        let rest = line.trim_start().strip_prefix(before)?;
        rest.split([' ', '(', ';']).next().map(str::to_owned)
    };
    let package = text.lines().find_map(|line| word(line, "package "));
    let package = package.expect("it names its package");
    let calls: Vec<String> = text
        .lines()
        .skip_while(|line| word(line, "service ").as_deref() != Some(service))
        .take_while(|line| !line.starts_with('}'))
        .filter_map(|line| word(line, "rpc "))
        .map(|call| format!("/{package}.{service}/{call}"))
        .collect();
    assert!(!calls.is_empty(), "{file} has no service {service}");
    calls
}

/// How a server answers a call with this message; nothing: not with an error.
fn answer<M: prost::Message + Default + 'static>(
    address: &str,
    call: &str,
    message: M,
    secret: Option<&str>,
) -> Option<Code> {
    runtime().block_on(async {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let channel = endpoint.connect().await.expect("the server listens");
        let mut client = Grpc::new(channel);
        client.ready().await.expect("the connection is open");
        let mut request = Request::new(message);
        if let Some(secret) = secret {
            let secret = secret.parse().expect("it is ASCII");
            request.metadata_mut().insert(ADMIN_SECRET, secret);
        }
        let path = PathAndQuery::try_from(call).expect("a path");
        // On the wire a call with one answer is one with a stream of answers.
        let answered = client
            .server_streaming(request, path, ProstCodec::<M, ()>::default())
            .await;
        answered.err().map(|status| status.code())
    })
}

#[test]
fn no_call_is_answered_without_the_secret_that_it_needs() {
    let cluster = Cluster::start(
        Options::default()
            .setting("TULPAR__META__ADMIN_SECRET", ADMIN)
            .setting("TULPAR__META__CLUSTER_SECRET", CLUSTER)
            .setting("TULPAR__REPLICA__ADMIN_SECRET", ADMIN)
            .setting("TULPAR__REPLICA__CLUSTER_SECRET", CLUSTER),
    );
    let (meta, replica) = (cluster.meta(), cluster.server("replica-1"));
    let replica = replica.grpc.expect("it has a port for programs");

    let operators = calls("meta.proto", "Admin")
        .into_iter()
        .map(|call| (&meta, call))
        .chain(
            calls("inspect.proto", "Inspect")
                .into_iter()
                .map(|call| (&replica, call)),
        );
    for (address, call) in operators {
        for wrong in [None, Some(""), Some("open"), Some(CLUSTER)] {
            let code = answer(address, &call, (), wrong);
            assert_eq!(code, Some(Code::Unauthenticated), "{call} with {wrong:?}");
        }
        let code = answer(address, &call, (), Some(ADMIN));
        assert_ne!(code, Some(Code::Unauthenticated), "{call}");
        assert_ne!(code, Some(Code::Unimplemented), "{call}");
    }

    for call in calls("peer.proto", "Peers") {
        for wrong in ["", ADMIN] {
            let greeting = Greeting {
                protocol: proto::PROTOCOL,
                cluster_secret: wrong.into(),
                ..Greeting::default()
            };
            let greeting = Some(greeting);
            let code = if call.ends_with("/Checkpoint") {
                let start = CheckpointStart {
                    greeting,
                    ..CheckpointStart::default()
                };
                let part = Some(Part::Start(start));
                answer(&replica, &call, CheckpointPart { part }, Some(ADMIN))
            } else {
                // The others begin with a greeting as this one does.
                let message = DigestRequest {
                    greeting,
                    ..DigestRequest::default()
                };
                answer(&replica, &call, message, Some(ADMIN))
            };
            // Beacons have a port of their own.
            let wanted = if call.ends_with("/Beacons") {
                Code::Unimplemented
            } else {
                Code::Unauthenticated
            };
            assert_eq!(code, Some(wanted), "{call} with {wrong:?}");
        }
    }

    // Who has the secret is served, and so are the servers among themselves.
    let digests = |secret: &str| {
        let arguments = ["shell", "--json", "--meta", &meta, "--admin-secret", secret];
        let arguments = arguments
            .into_iter()
            .chain(["partitions", "default", "--digest"]);
        program::run(&mut command(arguments))
    };
    assert_eq!(digests("open").status.code(), Some(1));
    tests::eventually("all copies are equal", || {
        let ended = digests(ADMIN);
        let equal = ended.stdout.matches("\"equal\":true").count();
        (ended.status.success() && equal >= 8)
            .then_some(())
            .ok_or(format!("{ended:?}"))
    });
}
