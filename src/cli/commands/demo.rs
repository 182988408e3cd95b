//! Demo: a small image is backed up, changed, backed up, and restored in a temporary folder, by the commands themselves.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{backup, diff, init, points, restore};
use crate::cli::catalog::IndexSettings;
use crate::cli::context::Context;
use crate::cli::outcome::Outcome;
use crate::cli::output;
use crate::cli::place::Place;
use crate::cli::secrets::KeySources;
use crate::device::{EngineChoice, Pace};
use crate::repository::InitOptions;

/// Size of the image, half of it data.
const IMAGE_BYTES: u64 = 64 << 20;
/// One write.
const BLOCK_BYTES: usize = 1 << 20;
/// Where the change goes, and how long it is.
const CHANGE_AT: u64 = 5 << 20;
const CHANGE_BYTES: usize = 100_000;

/// A folder that is removed again.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new(context: &Context) -> anyhow::Result<Self> {
        let path = env::temp_dir().join(format!("icecore-demo-{:016x}", context.entropy.u64()?));
        fs::create_dir(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            output::warn(&format!("{} could not be removed: {error}", self.0.display()));
        }
    }
}

pub(in crate::cli) fn run(context: &Context) -> anyhow::Result<Outcome> {
    let folder = Folder::new(context)?;
    let context = context.clone().with_keys(KeySources { key_file: Some(folder.path("key")), passphrase: None });
    let (image, restored) = (folder.path("disk.img"), folder.path("restored.img"));
    let location = folder.path("repository").display().to_string();

    step("a new repository", &format!("icecore init {location}"))?;
    init::run(&context, init::Settings { location: location.clone(), options: InitOptions::default() })?;
    write_image(&image)?;
    step("the first backup stores everything", &format!("icecore backup {}", image.display()))?;
    backup::run(&context, backup_settings(&location, &image))?;
    change_image(&image)?;
    step("the next one stores what has changed", &format!("icecore backup {}", image.display()))?;
    backup::run(&context, backup_settings(&location, &image))?;
    step("two recovery points", "icecore points")?;
    points::run(&context, points::Settings { location: location.clone(), volume: None, show: None })?;
    let ids = point_ids(&context, &location)?;
    step("where they differ", &format!("icecore diff {} {}", ids[0], ids[1]))?;
    diff::run(&context, diff_settings(location.clone(), ids[0].clone(), ids[1].clone()))?;
    step("the newest one comes back", &format!("icecore restore latest --to {}", restored.display()))?;
    restore::run(&context, restore_settings(&location, &restored))?;
    let (wanted, found) = (digest(&image)?, digest(&restored)?);
    anyhow::ensure!(wanted == found, "the restored image differs from the original: {wanted} became {found}");
    step("the restored image is the original, byte for byte", &format!("blake3 {found}"))?;
    Ok(Outcome::Clean)
}

fn step(what: &str, command: &str) -> anyhow::Result<()> {
    Ok(output::print(&format!("\n# {what}\n$ {command}\n"))?)
}

fn backup_settings(location: &str, image: &Path) -> backup::Settings {
    backup::Settings {
        catalog: false,
        metrics: None,
        location: location.to_owned(),
        source: image.to_path_buf(),
        volume: "disk".to_owned(),
        changes: backup::sources::ChangeSettings::default(),
        allocated: backup::Allocated::Off,
        chunk_bytes: None,
        codec: None,
        live: false,
        full: false,
        limit_bytes_per_second: None,
        pace: Pace::Full,
        engine: EngineChoice::Auto,
        workers: None,
    }
}

fn restore_settings(location: &str, target: &Path) -> restore::Settings {
    restore::Settings {
        location: location.to_owned(),
        point: "latest".to_owned(),
        target: target.to_path_buf(),
        only_differences: false,
        verify: true,
        force: false,
        degraded: false,
        workers: None,
    }
}

/// The ids of the two points, older first.
fn point_ids(context: &Context, location: &str) -> anyhow::Result<[String; 2]> {
    let ids: Vec<String> = context.repository(location)?.points()?.points.iter().map(|point| point.id.short()).collect();
    <[String; 2]>::try_from(ids).map_err(|ids| anyhow::anyhow!("there should be two points, but there are {}", ids.len()))
}

/// Every second block is data that looks random and is always the same; the others are holes.
fn write_image(path: &Path) -> anyhow::Result<()> {
    let file = File::create_new(path)?;
    file.set_len(IMAGE_BYTES)?;
    for (number, at) in (0..IMAGE_BYTES).step_by(2 * BLOCK_BYTES).enumerate() {
        file.write_all_at(&noise(number as u64, BLOCK_BYTES), at)?;
    }
    Ok(file.sync_all()?)
}

fn change_image(path: &Path) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(&noise(u64::MAX, CHANGE_BYTES), CHANGE_AT)?;
    Ok(file.flush()?)
}

/// Bytes that do not compress and that `seed` repeats.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

fn digest(path: &Path) -> anyhow::Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut file = File::open(path)?;
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hasher.finalize().to_string()),
            length => hasher.update(&block[..length]),
        };
    }
}

fn diff_settings(location: String, old: String, new: String) -> diff::Settings {
    let place =
        |text: String| Place { text: text.into(), location: Some(location.clone()), partition: None, follow: false, live: false };
    let index = IndexSettings { folder: None, rebuild: false };
    diff::Settings { old: place(old), new: place(new), files: false, content: false, index }
}
