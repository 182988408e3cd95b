//! What operators write, and what is made of it.

use super::*;

fn bucket(cloud: Cloud, bucket: &str, prefix: &str) -> Location {
    Location::Bucket { cloud, bucket: bucket.to_owned(), prefix: prefix.to_owned() }
}

#[test]
fn paths_and_urls_are_understood_and_written_back() {
    let check = |text: &str, expected: Location, written: &str| {
        let parsed = Location::parse(text).unwrap();
        assert_eq!(parsed, expected, "{text}");
        assert_eq!(parsed.to_string(), written);
        assert_eq!(without_secrets(text), written);
        assert_eq!(Location::parse(written).unwrap(), expected, "{written} is what an operator may write again");
    };
    let directory = |path: &str| Location::Directory(path.into());
    check("/srv/backup", directory("/srv/backup"), "/srv/backup");
    check("./backup", directory("./backup"), "./backup");
    check("backup", directory("backup"), "backup");
    check("2026-01-01T10:00", directory("2026-01-01T10:00"), "2026-01-01T10:00");
    check("/a/b://c", directory("/a/b://c"), "/a/b://c");
    check("file:///srv/backup", directory("/srv/backup"), "/srv/backup");
    check("file:///a%20b", directory("/a b"), "/a b");
    check("memory:", Location::Memory, "memory:");
    check("s3://bucket", bucket(Cloud::S3, "bucket", ""), "s3://bucket");
    check("s3://bucket/", bucket(Cloud::S3, "bucket", ""), "s3://bucket");
    check("s3://bu.c-ket/a/b/", bucket(Cloud::S3, "bu.c-ket", "a/b"), "s3://bu.c-ket/a/b");
    check("gs://bucket/a", bucket(Cloud::Google, "bucket", "a"), "gs://bucket/a");
    check("az://container/a", bucket(Cloud::Azure { account: None }, "container", "a"), "az://container/a");
    check("abfs://container", bucket(Cloud::Azure { account: None }, "container", ""), "az://container");
    let account = Cloud::Azure { account: Some("acc".to_owned()) };
    let written = "abfss://box@acc.dfs.core.windows.net/a";
    check(written, bucket(account, "box", "a"), written);
}

#[test]
fn credentials_in_a_url_are_refused_and_not_repeated() {
    for text in [
        "s3://AKIA:hunter2@bucket/a",
        "s3://hunter2@bucket",
        "gs://hunter2@bucket",
        "az://hunter2@container",
        "abfss://box:hunter2@acc.dfs.core.windows.net/a",
    ] {
        let error = Location::parse(text).unwrap_err();
        assert!(matches!(error, LocationError::HoldsCredentials(_)), "{text}: {error}");
        assert!(!without_secrets(text).contains("hunter2") && !error.to_string().contains("hunter2"), "{text}");
    }
    let query = "s3://bucket/a?secret=hunter2";
    assert_eq!(Location::parse(query), Err(LocationError::HoldsMore("AWS_ENDPOINT_URL")));
    assert_eq!(without_secrets(query), "s3://…");
}

#[test]
fn what_is_not_understood_says_what_to_write() {
    let check = |text: &str, expected: LocationError| assert_eq!(Location::parse(text), Err(expected), "{text}");
    check("", LocationError::Empty);
    check("s3:bucket", LocationError::NoBucket("s3".to_owned()));
    check("s3:///a", LocationError::NoBucket("s3".to_owned()));
    check("https://bucket.s3.amazonaws.com", LocationError::UnknownScheme("https".to_owned()));
    check("sftp://host/a", LocationError::UnknownScheme("sftp".to_owned()));
    check("s3://bucket:9000/a", LocationError::HoldsMore("AWS_ENDPOINT_URL"));
    check("gs://bucket/a#b", LocationError::HoldsMore("GOOGLE_BASE_URL"));
    check("s3://bucket/a//b", LocationError::OddPrefix);
    check("s3://bucket/a b", LocationError::OddPrefix);
    check("s3://bucket/.hidden", LocationError::OddPrefix);
    check(&format!("s3://bucket/{}", "a".repeat(513)), LocationError::OddPrefix);
    check("file://host/a", LocationError::OddFile);
    check("abfss://box@example.org/a", LocationError::OddAccount);
    check("s3://[/a", LocationError::NoUrl);
}
