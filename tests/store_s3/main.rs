//! The store over the wire: a real S3 server, a proxy that loses answers, and scripted refusals.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests and their helpers fail by panicking, print why they skip, and have no readers of documentation"
)]

mod proxy;
mod responder;

use bytes::Bytes;
use icecore::base::clock::{Clock, SystemClock};
use icecore::store::retry::RetryPolicy;
use icecore::store::{
    Created, Missing, ObjectEntry, ObjectKey, Options, Settings, Store, StoreError, StoreErrorKind, contract, open,
};
use icecore::testkit::manual_clock::ManualClock;
use icecore::testkit::s3_server::{S3Server, settings_for};
use icecore::testkit::seeded_entropy::SeededEntropy;
use proxy::Proxy;
use responder::Responder;
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const BUCKET: &str = "backup";

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

fn options(settings: Settings, retry: RetryPolicy, clock: Arc<dyn Clock>) -> Options {
    Options { missing: Missing::Refuse, settings, retry, clock, entropy: Arc::new(SeededEntropy::new(1)) }
}

/// One try only: what the cloud itself says.
fn bare(settings: Settings, location: &str) -> Arc<dyn Store> {
    let once = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    open(location, &options(settings, once, Arc::new(ManualClock::default()))).unwrap()
}

/// Real waits, but short ones.
fn retrying(settings: Settings, location: &str) -> Arc<dyn Store> {
    let quick = RetryPolicy {
        attempts: 40,
        first_wait: Duration::from_millis(20),
        longest_wait: Duration::from_millis(500),
        deadline: Duration::from_secs(30),
    };
    open(location, &options(settings, quick, Arc::new(SystemClock::new()))).unwrap()
}

fn kind<T>(result: Result<T, StoreError>) -> Option<StoreErrorKind> {
    result.err().map(|error| error.kind)
}

#[test]
fn a_real_s3_server_keeps_the_contract_at_the_root_and_below_a_prefix() {
    let Some(server) = S3Server::start(BUCKET) else { return };
    contract::check(&*bare(server.settings(), "s3://backup"));
    contract::check(&*retrying(server.settings(), "s3://backup/cluster-1/volumes/"));
}

#[test]
fn stores_below_two_prefixes_do_not_see_each_other() {
    let Some(server) = S3Server::start(BUCKET) else { return };
    let one = bare(server.settings(), "s3://backup/one");
    let longer = bare(server.settings(), "s3://backup/one-more");
    one.put(&key("a"), Bytes::from_static(b"1")).unwrap();
    longer.put(&key("b"), Bytes::from_static(b"2")).unwrap();
    assert_eq!(names(&*one), ["a"]);
    assert_eq!(names(&*longer), ["b"]);
    assert_eq!(names(&*bare(server.settings(), "s3://backup")), ["one-more/b", "one/a"]);
}

fn names(store: &dyn Store) -> Vec<String> {
    let mut names = Vec::new();
    let collect = &mut |entry: ObjectEntry| {
        names.push(entry.key.to_string());
        ControlFlow::Continue(())
    };
    store.list("", collect).unwrap();
    names
}

#[test]
fn a_bucket_that_does_not_exist_is_a_wrong_setting() {
    let Some(server) = S3Server::start(BUCKET) else { return };
    let store = bare(server.settings(), "s3://no-such-bucket");
    assert_eq!(kind(store.get(&key("a"))), Some(StoreErrorKind::Misconfigured));
    assert_eq!(kind(store.put(&key("a"), Bytes::new())), Some(StoreErrorKind::Misconfigured));
    assert_eq!(kind(store.list("", &mut |_| ControlFlow::Continue(()))), Some(StoreErrorKind::Misconfigured));
}

#[test]
fn a_server_that_is_gone_is_a_temporary_failure_and_the_retries_end() {
    let Some(mut server) = S3Server::start(BUCKET) else { return };
    let store = bare(server.settings(), "s3://backup");
    store.put(&key("a"), Bytes::from_static(b"x")).unwrap();
    server.stop();
    assert_eq!(kind(store.get(&key("a"))), Some(StoreErrorKind::Temporary));
    let clock = Arc::new(ManualClock::default());
    let store = open("s3://backup", &options(server.settings(), RetryPolicy::default(), clock.clone())).unwrap();
    assert_eq!(kind(store.put(&key("a"), Bytes::new())), Some(StoreErrorKind::Temporary));
    assert_eq!(clock.slept().len(), 9, "ten tries");
    assert!(clock.monotonic() <= RetryPolicy::default().deadline);
}

#[test]
fn a_server_that_comes_back_is_waited_for() {
    let Some(mut server) = S3Server::start(BUCKET) else { return };
    let store = retrying(server.settings(), "s3://backup");
    store.put(&key("a"), Bytes::from_static(b"before")).unwrap();
    server.stop();
    thread::scope(|scope| {
        let put = scope.spawn(|| {
            // Until the bucket is made again the server says that there is none, which is final; so this asks more than once.
            loop {
                match store.put(&key("a"), Bytes::from_static(b"after")) {
                    Err(error) if error.kind == StoreErrorKind::Misconfigured => thread::sleep(Duration::from_millis(5)),
                    outcome => return outcome,
                }
            }
        });
        thread::sleep(Duration::from_millis(300));
        server.restart();
        server.create_bucket(BUCKET);
        put.join().unwrap().unwrap();
    });
    assert_eq!(store.get(&key("a")).unwrap(), "after");
}

#[test]
fn a_put_if_absent_whose_answer_was_lost_still_knows_that_it_won() {
    let Some(server) = S3Server::start(BUCKET) else { return };
    let proxy = Proxy::before(server.address());
    let direct = bare(server.settings(), "s3://backup");

    proxy.lose_answers(1);
    let once = bare(settings_for(proxy.address()), "s3://backup");
    assert_eq!(kind(once.put_if_absent(&key("once"), Bytes::from_static(b"mine"))), Some(StoreErrorKind::Temporary));
    assert_eq!(direct.get(&key("once")).unwrap(), "mine", "the server has done it, though nobody was told");

    let store = retrying(settings_for(proxy.address()), "s3://backup");
    proxy.lose_answers(1);
    assert_eq!(store.put_if_absent(&key("won"), Bytes::from_static(b"mine")).unwrap(), Created::New);
    assert_eq!(proxy.lost(), 2, "an answer was lost in each try");
    direct.put(&key("taken"), Bytes::from_static(b"another's")).unwrap();
    proxy.lose_answers(2);
    assert_eq!(store.put_if_absent(&key("taken"), Bytes::from_static(b"mine")).unwrap(), Created::AlreadyThere);
    assert_eq!(store.get(&key("taken")).unwrap(), "another's");
    assert_eq!(proxy.lost(), 4);
}

#[test]
fn a_body_that_ends_early_is_never_taken_for_the_object() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nLast-Modified: Wed, 21 Oct 2026 07:28:00 GMT\r\nETag: \"x\"\r\n\r\n12345";
    let whole = half.to_owned() + "67890";
    let responder = Responder::start(&[half, &whole]);
    let store = retrying(settings_for(responder.address()), "s3://backup");
    assert_eq!(store.get(&key("a")).unwrap(), "1234567890");
    assert_eq!(responder.requests().len(), 2);
}

fn refusal(status: &str, code: &str) -> String {
    let body = format!("<Error><Code>{code}</Code><Message>scripted</Message></Error>");
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

const CREATED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: \"x\"\r\nConnection: close\r\n\r\n";

#[test]
fn throttling_and_conflicts_are_retried_by_us_and_only_by_us() {
    let slow = refusal("503 Slow Down", "SlowDown");
    let responder = Responder::start(&[&slow, &slow, CREATED]);
    assert_eq!(
        kind(bare(settings_for(responder.address()), "s3://backup").put(&key("a"), Bytes::new())),
        Some(StoreErrorKind::Temporary)
    );
    assert_eq!(responder.requests().len(), 1, "the client library must not retry by itself");

    for first in [slow, refusal("409 Conflict", "ConditionalRequestConflict"), refusal("429 Too Many Requests", "")] {
        let responder = Responder::start(&[&first, CREATED]);
        let store = retrying(settings_for(responder.address()), "s3://backup/p");
        assert_eq!(store.put_if_absent(&key("a"), Bytes::from_static(b"hello")).unwrap(), Created::New, "{first}");
        let requests = responder.requests();
        assert_eq!(requests.len(), 2);
        for request in requests {
            let request = request.to_ascii_lowercase();
            assert!(request.starts_with("put /backup/p/a http/1.1\r\n"), "{request}");
            assert!(request.contains("\r\nif-none-match: *\r\n") && request.ends_with("\r\n\r\nhello"), "{request}");
        }
    }
}

#[test]
fn refusals_keep_their_meaning() {
    let check = |status: &str, code: &str, expected: StoreErrorKind| {
        let responder = Responder::start(&[&refusal(status, code)]);
        let error = bare(settings_for(responder.address()), "s3://backup").put_if_absent(&key("a"), Bytes::new()).unwrap_err();
        assert_eq!(error.kind, expected, "{status} {code}");
        let told = error.source.unwrap().to_string();
        assert!(told.contains("scripted") && !told.contains("test-secret-key"), "{told}");
    };
    check("403 Forbidden", "AccessDenied", StoreErrorKind::Denied);
    check("403 Forbidden", "InvalidAccessKeyId", StoreErrorKind::Denied);
    check("403 Forbidden", "QuotaExceeded", StoreErrorKind::Full);
    check("507 Insufficient Storage", "XMinioStorageFull", StoreErrorKind::Full);
    check("404 Not Found", "NoSuchBucket", StoreErrorKind::Misconfigured);
    check("501 Not Implemented", "NotImplemented", StoreErrorKind::Misconfigured);
    check("400 Bad Request", "BadDigest", StoreErrorKind::Permanent);
    check("500 Internal Server Error", "InternalError", StoreErrorKind::Temporary);
}

#[test]
fn a_server_that_says_nothing_is_given_up_after_the_time_limit() {
    let responder = Responder::start(&[""]);
    let settings = settings_for(responder.address()).with("AWS_TIMEOUT", "300ms");
    let clock = SystemClock::new();
    assert_eq!(kind(bare(settings, "s3://backup").get(&key("a"))), Some(StoreErrorKind::Temporary));
    assert!(clock.monotonic() < Duration::from_secs(10), "{:?}", clock.monotonic());
}

#[test]
fn forgotten_credentials_are_told_at_once() {
    // A port of this machine that was free a moment ago stands for a metadata service that is not there.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = Settings::none().with("AWS_METADATA_ENDPOINT", &format!("http://{nobody}"));
    let clock = Arc::new(ManualClock::default());
    let store = open("s3://backup", &options(settings, RetryPolicy::default(), clock.clone())).unwrap();
    let error = store.get(&key("a")).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Misconfigured, "{:?}", error.source);
    assert!(error.source.unwrap().to_string().starts_with("no credentials are set"));
    assert!(clock.slept().is_empty());
}
