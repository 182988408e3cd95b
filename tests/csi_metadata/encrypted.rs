//! Over TLS: only the authority that was named vouches for a service, and no token goes out in the clear.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore::base::cancel::Cancel;
use icecore::rpc::snapshot_metadata::{Address, Course, Credentials, Metadata, MetadataError, Question, SnapshotMetadata};
use icecore::testkit::csi_server::{CsiServer, Script};
use icecore::testkit::manual_clock::ManualClock;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use secrecy::SecretString;

use crate::rig::{PATIENT, Tokens, six_blocks, told};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A service whose certificate bears `name`.
fn service(authority: &Issuer, name: &str) -> CsiServer {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    CsiServer::over_tls(&certificate.pem(), &key.serialize_pem(), six_blocks(), Script::honest())
}

fn ask(address: &str, authority: Option<&[u8]>) -> Result<Metadata, MetadataError> {
    let credentials = Credentials::Sidecar { namespace: "shop".to_owned(), tokens: Arc::new(Tokens::default()) };
    let clock = Arc::new(ManualClock::default());
    let client = SnapshotMetadata::new(&Address::parse(address).unwrap(), authority, credentials, PATIENT, clock)?;
    client.ask(&Question::Allocated { snapshot: "target".to_owned() }, 1 << 20, &Cancel::new())
}

#[test]
fn a_service_that_the_authority_vouches_for_is_asked() {
    let authority = authority();
    let server = service(&authority, "localhost");
    assert!(server.address().starts_with("https://"));
    let answer = ask(server.address(), Some(authority.pem().as_bytes())).unwrap();
    assert_eq!(answer.extents, told(&six_blocks()));
    let bundle = format!("# a comment\n{}{}", self::authority().pem(), authority.pem());
    ask(server.address().trim_start_matches("https://"), Some(bundle.as_bytes())).unwrap();
}

#[test]
fn a_service_that_nobody_vouches_for_is_shown_no_token_and_not_tried_again() {
    let (right, wrong) = (authority(), authority());
    for (name, trusted) in [("localhost", &wrong), ("elsewhere", &right)] {
        let server = service(&right, name);
        let error = ask(server.address(), Some(trusted.pem().as_bytes())).unwrap_err();
        assert_eq!(error.course(), Course::Refuse, "{error}");
        assert!(error.to_string().contains("--csi-ca"), "{error}");
        assert!(server.calls().is_empty());
    }
}

#[test]
fn an_authority_is_named_exactly_where_there_is_tls() {
    let pem = authority().pem();
    for (address, authority, words) in [
        ("localhost:1", None, "which certificate authority"),
        ("localhost:1", Some("no certificate"), "holds no certificate in PEM"),
        ("localhost:1", Some(""), "holds no certificate in PEM"),
        ("unix:///run/csi.sock", Some(pem.as_str()), "only for addresses over TLS"),
        ("http://localhost:1", Some(pem.as_str()), "only for addresses over TLS"),
        ("http://10.0.0.1:1", None, "not encrypted"),
    ] {
        let error = ask(address, authority.map(str::as_bytes)).unwrap_err();
        assert!(matches!(&error, MetadataError::Misconfigured { reason } if reason.contains(words)), "{error}");
        assert_eq!(error.course(), Course::Refuse);
    }
}

#[test]
fn secrets_stay_at_home_as_tokens_do_and_a_question_without_them_goes_anywhere() {
    let client = |secrets| {
        let address = Address::parse("http://10.0.0.1:1").unwrap();
        SnapshotMetadata::new(&address, None, Credentials::Driver { secrets }, PATIENT, Arc::new(ManualClock::default()))
    };
    assert!(client(BTreeMap::new()).is_ok());
    let secrets = BTreeMap::from([("password".to_owned(), SecretString::from("hunter2"))]);
    assert!(client(secrets.clone()).unwrap_err().to_string().contains("not encrypted"));
    assert!(!format!("{:?}", Credentials::Driver { secrets }).contains("hunter2"));
}
