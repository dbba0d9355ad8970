//! The port from outside: what it answers, whom it lets in, and what it does not put up with.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use telemetry::axum::{Router, routing::get};
use telemetry::{Exposition, HttpPort, PortOptions, Role, Subject, bind, serve};

/// For what takes as long as it takes; a test that gets here has failed.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Default)]
struct Server {
    hangs: AtomicBool,
    ready: AtomicBool,
}

impl Subject for Server {
    fn role(&self) -> Role {
        Role::Gateway
    }

    fn health(&self) -> Result<(), String> {
        if self.hangs.load(Ordering::Relaxed) {
            return Err("it hangs".into());
        }
        Ok(())
    }

    async fn ready(&self) -> Result<(), String> {
        if self.ready.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err("no routes".into())
    }

    async fn describe(&self, into: &mut Exposition) {
        into.gauge("answer", "Of everything.", 42.0);
    }

    fn pages(self: Arc<Self>) -> Router {
        Router::new()
            .route("/page", get(|| async { "a page" }))
            .route("/never", get(std::future::pending::<&str>))
    }
}

fn options(secret: &str) -> PortOptions {
    PortOptions {
        listen: "127.0.0.1:0".into(),
        secret: secret.into(),
        allow_unauthenticated: false,
    }
}

fn start(secret: &str) -> (HttpPort, Arc<Server>) {
    let options = options(secret);
    let server = Arc::new(Server::default());
    let listener = bind(&options).unwrap().unwrap();
    (serve(listener, &options, server.clone()).unwrap(), server)
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What is answered to the bytes, until the server has closed the connection.
fn answer(to: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(to);
    // It may have closed before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Status and body.
fn get_with(to: SocketAddr, path: &str, headers: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    let answer = answer(to, request.as_bytes());
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, body.to_owned())
}

#[test]
fn health_and_readiness_are_told_apart() {
    let (port, server) = start("");
    let get = |path| get_with(port.address(), path, "");
    assert_eq!(get("/health"), (200, "ok\n".into()));
    assert_eq!(get("/ready"), (503, "no routes\n".into()));
    server.ready.store(true, Ordering::Relaxed);
    assert_eq!(get("/ready"), (200, "ok\n".into()));
    server.hangs.store(true, Ordering::Relaxed);
    assert_eq!(get("/health"), (503, "it hangs\n".into()));
    assert_eq!(get("/ready"), (503, "it hangs\n".into()));
    assert_eq!(get("/nosuch").0, 404);
    let (status, metrics) = get("/metrics");
    assert_eq!(status, 200);
    for line in ["answer 42.0", "tulpar_healthy 0.0", "tulpar_ready 0.0"] {
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
    }
}

#[test]
fn metrics_and_pages_want_the_secret_and_health_does_not() {
    let (port, server) = start("wolf");
    server.ready.store(true, Ordering::Relaxed);
    let get = |path, headers| get_with(port.address(), path, headers).0;
    for path in ["/health", "/ready"] {
        assert_eq!(get(path, ""), 200, "{path}");
    }
    for path in ["/metrics", "/page"] {
        assert_eq!(get(path, ""), 401, "{path}");
        assert_eq!(get(path, "authorization: Bearer sheep\r\n"), 401, "{path}");
        assert_eq!(get(path, "authorization: Bearer wolf\r\n"), 200, "{path}");
    }
}

#[test]
fn a_port_that_others_reach_needs_a_secret_or_permission() {
    let open = PortOptions {
        listen: "0.0.0.0:0".into(),
        ..options("")
    };
    let refused = bind(&open).unwrap_err().to_string();
    assert!(refused.contains("http_secret"), "{refused}");
    let secret = "wolf".into();
    assert!(
        bind(&PortOptions {
            secret,
            ..open.clone()
        })
        .unwrap()
        .is_some()
    );
    let allow_unauthenticated = true;
    assert!(
        bind(&PortOptions {
            allow_unauthenticated,
            ..open
        })
        .unwrap()
        .is_some()
    );
    let none = PortOptions {
        listen: String::new(),
        ..options("")
    };
    assert!(bind(&none).unwrap().is_none());
    let nowhere = PortOptions {
        listen: "nowhere".into(),
        ..options("")
    };
    assert!(bind(&nowhere).unwrap_err().to_string().contains("nowhere"));
    let (port, _server) = start("");
    let taken = PortOptions {
        listen: port.address().to_string(),
        ..options("")
    };
    let refused = bind(&taken).unwrap_err().to_string();
    assert!(refused.contains(&taken.listen), "{refused}");
}

#[test]
fn what_is_no_request_is_turned_away_and_costs_nothing() {
    let (port, _server) = start("");
    let endless = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &vec![b'a'; 1 << 20]].concat();
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000));
    for bad in [&endless[..], many.as_bytes(), b"\0\0\0\r\n\r\n"] {
        let answer = answer(port.address(), bad);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    // A body is not read, however long it is said to be.
    let post = b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000000\r\n\r\nabc";
    assert!(answer(port.address(), post).starts_with("HTTP/1.1 405"));
    assert_eq!(get_with(port.address(), "/health", "").0, 200);
}

#[test]
fn an_answer_that_never_comes_and_a_request_that_never_ends_are_not_waited_for() {
    let (port, _server) = start("");
    let (status, text) = get_with(port.address(), "/never", "");
    assert_eq!(status, 503);
    assert!(text.contains("in time"), "{text}");
    assert!(!answer(port.address(), b"GET /health HTTP/1.1\r\n").contains("200 OK"));
}

#[test]
fn connections_are_bounded_and_the_bound_is_on_those_at_a_time() {
    let (port, _server) = start("");
    let mut all: Vec<TcpStream> = (0..300).map(|_| connect(port.address())).collect();
    for stream in &mut all {
        // Those that are too many are closed, perhaps before they are written to.
        let _ = stream.write_all(b"GET /never HTTP/1.0\r\n\r\n");
    }
    let mut answered = 0;
    for stream in &mut all {
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answered += usize::from(answer.starts_with("HTTP/1.0 503"));
    }
    assert_eq!(answered, 256);
    assert_eq!(get_with(port.address(), "/health", "").0, 200);
}
