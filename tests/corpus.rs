//! Images of a corpus against their manifests: every file, link and attribute, and nothing else.
//!
//! `ICECORE_CORPUS_DIR` names a folder of `NAME.img` and `NAME.json`. A manifest lists what the kernel shows of an image that it may
//! have had to recover first.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests may fail loudly; whoever runs this wants to see the score"
)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use aws_lc_rs::digest::{Context, SHA256, digest};
use icecore::base::extent::Extent;
use icecore::filesystem::{self, Entry, FileKind, Filesystem, FilesystemError, Inode, Source, View};
use icecore::testkit::image::FileSource;
use serde_json::{Map, Value};

const PIECE_BYTES: u64 = 1 << 20;

/// What was found in one image.
#[derive(Debug, Default)]
struct Score {
    exact: usize,
    wrong: Vec<String>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// Every path of a filesystem but what is below `lost+found`. Names that are no text are written as Python writes them.
fn walk(ours: &dyn Filesystem) -> Result<BTreeMap<String, Inode>, FilesystemError> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![(String::new(), ours.root())];
    while let Some((path, number)) = waiting.pop() {
        let inode = ours.inode(number)?;
        if inode.is_directory() {
            ours.list(&inode, &mut |Entry { name, inode }| {
                let path = format!("{path}/{}", text(&name));
                if path != "/lost+found" {
                    waiting.push((path, inode));
                }
                ControlFlow::Continue(())
            })?;
        }
        found.insert(path, inode);
    }
    found.remove("");
    Ok(found)
}

/// Bytes that are no UTF-8 become `\udcXX` in Python, which JSON and Rust cannot hold; both sides use a plain form instead.
fn text(name: &[u8]) -> String {
    name.utf8_chunks().map(|chunk| format!("{}{}", chunk.valid(), escaped(chunk.invalid()))).collect()
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("<{byte:02x}>")).collect()
}

/// Rewrites the lone surrogates of a manifest before it is parsed.
fn readable(json: &str) -> String {
    let mut pieces = json.split("\\udc");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    let mut before = out.len() >= 6 && out[out.len() - 6..].starts_with("\\ud8");
    for piece in pieces {
        let (digits, rest) = piece.split_at(2);
        let pair = before || out.len() >= 6 && out.is_char_boundary(out.len() - 6) && out[out.len() - 6..].starts_with("\\ud8");
        out.push_str(&if pair { format!("\\udc{digits}") } else { format!("<{digits}>") });
        out.push_str(rest);
        before = false;
    }
    out
}

fn content(ours: &dyn Filesystem, inode: &Inode) -> Result<String, FilesystemError> {
    let mut hash = Context::new(&SHA256);
    for piece in Extent::new(0, inode.size).cut(PIECE_BYTES) {
        let mut bytes = vec![0xAA; usize::try_from(piece.length).unwrap()];
        assert_eq!(ours.read(inode, piece.offset, &mut bytes)?, bytes.len());
        hash.update(&bytes);
    }
    Ok(hex(hash.finish().as_ref()))
}

fn user_attributes(ours: &dyn Filesystem, inode: &Inode) -> Result<Map<String, Value>, FilesystemError> {
    let attributes = ours.xattrs(inode)?.into_iter().filter(|xattr| xattr.name.starts_with(b"user."));
    Ok(attributes.map(|xattr| (text(&xattr.name), Value::String(sha256(&xattr.value)))).collect())
}

/// What is wrong with one entry, if anything.
fn wrong(ours: &dyn Filesystem, inode: &Inode, expected: &Value) -> Result<Option<String>, FilesystemError> {
    let says = |field: &str| expected[field].as_u64();
    let mode = says("mode").unwrap_or_default() & 0o7777;
    if mode != u64::from(inode.mode) || says("ino") != Some(inode.number.0) || says("size") != Some(inode.size) {
        return Ok(Some(format!("is {inode:?}")));
    }
    if let Some(attributes) = expected["x"].as_object()
        && *attributes != user_attributes(ours, inode)?
    {
        return Ok(Some("has other attributes".to_owned()));
    }
    let equal = match (expected["t"].as_str(), inode.kind) {
        (Some("f"), FileKind::Regular) => expected["sha"] == content(ours, inode)?,
        (Some("l"), FileKind::Symlink) => expected["target"] == text(&ours.link_target(inode)?),
        (Some("d"), FileKind::Directory) => true,
        (Some("o"), kind) => !matches!(kind, FileKind::Regular | FileKind::Symlink | FileKind::Directory),
        _ => false,
    };
    Ok((!equal).then(|| "differs".to_owned()))
}

/// No block of a file may be free.
fn freed(ours: &dyn Filesystem, found: &BTreeMap<String, Inode>) -> Vec<String> {
    let allocation = ours.allocation();
    let mut wrong = Vec::new();
    for (path, inode) in found {
        for piece in Extent::new(0, inode.size).cut(64 << 20) {
            for segment in ours.map(inode, piece).unwrap() {
                let (Source::Disk(at) | Source::Unwritten(at)) = segment.source else { continue };
                if allocation.free.intersects(&Extent::new(at, segment.extent.length)) {
                    wrong.push(format!("{path}: {} is called free", segment.extent));
                }
            }
        }
    }
    if let [doubt, ..] = allocation.doubts.as_slice() {
        eprintln!("{} doubts, the first: {doubt:?}", allocation.doubts.len());
    }
    wrong
}

fn score(image: &Path) -> Result<Score, FilesystemError> {
    let ours = filesystem::open(Arc::new(FileSource::open(image).unwrap()))?;
    let manifest: Value = serde_json::from_str(&readable(&fs::read_to_string(image.with_extension("json")).unwrap())).unwrap();
    let mut found = walk(&*ours)?;
    let mut score = Score { wrong: freed(&*ours, &found), ..Score::default() };
    for expected in manifest["files"].as_array().unwrap() {
        let path = expected["path"].as_str().unwrap();
        let said = match found.remove(path) {
            None => Some("is missing".to_owned()),
            Some(inode) => wrong(&*ours, &inode, expected).unwrap_or_else(|error| Some(error.to_string())),
        };
        match said {
            Some(what) => score.wrong.push(format!("{path}: {what}")),
            None => score.exact += 1,
        }
    }
    score.wrong.extend(found.keys().map(|ghost| format!("{ghost}: a ghost")));
    if let View::Stale { reason } = ours.view() {
        score.wrong.push(format!("the view is stale: {reason}"));
    }
    let free = ours.allocation().free.bytes() * 100 / ours.identity().size;
    eprintln!("{}: {} exact, {} wrong, {free} % free, {:?}", image.display(), score.exact, score.wrong.len(), ours.view());
    Ok(score)
}

fn images(folder: &Path) -> Vec<PathBuf> {
    let mut images: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    images.retain(|path| path.extension().is_some_and(|extension| extension == "img") && path.with_extension("json").exists());
    images.sort();
    images
}

#[test]
#[ignore = "needs a corpus: ICECORE_CORPUS_DIR"]
fn every_image_of_the_corpus_is_what_its_manifest_says() {
    let folder = env::var("ICECORE_CORPUS_DIR").unwrap();
    let mut wrong = Vec::new();
    for image in images(Path::new(&folder)) {
        match score(&image) {
            Ok(score) => wrong.extend(score.wrong.into_iter().take(20).map(|line| format!("{}: {line}", image.display()))),
            Err(error) => wrong.push(format!("{}: {error}", image.display())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
