//! Stat: everything that a filesystem knows of one file.

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::damage_views::say_found_elsewhere;
use crate::cli::file_views::{FileView, NameView, SourceView, hex, kind, mode_text, moment};
use crate::cli::outcome::Outcome;
use crate::cli::place::{OpenPlace, Place};
use crate::cli::text;
use crate::filesystem::{FileKind, Identity, Layout, View as Replay, Xattr, printable};
use crate::job::JobError;

/// What to look at.
#[derive(Debug)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) place: Place,
}

#[derive(Debug, Serialize)]
struct View {
    schema: &'static str,
    source: SourceView,
    file: FileView,
    generation: u32,
    allocated_bytes: u64,
    accessed: String,
    created: Option<String>,
    encrypted: bool,
    major: Option<u32>,
    minor: Option<u32>,
    extents: Option<u64>,
    data_bytes: Option<u64>,
    unwritten_bytes: Option<u64>,
    xattrs: Vec<XattrView>,
    filesystem_uuid: String,
    filesystem_label: NameView,
}

#[derive(Debug, Serialize)]
struct XattrView {
    name: NameView,
    value_hex: String,
}

pub(in crate::cli) fn run(context: &Context, settings: Settings) -> anyhow::Result<Outcome> {
    let place = settings.place.open(context)?;
    let (filesystem, inode) = (place.filesystem.as_ref(), &place.inode);
    let layout = match inode.kind {
        FileKind::Regular => Some(Layout::of(filesystem, inode).map_err(JobError::from)?),
        _ => None,
    };
    let target = match inode.kind {
        FileKind::Symlink => Some(filesystem.link_target(inode).map_err(JobError::from)?),
        _ => None,
    };
    let xattrs = filesystem.xattrs(inode).map_err(JobError::from)?;
    let view = view(&place, layout, target.clone(), &xattrs);
    context.report(&view, || describe(&place, &view, target.as_deref(), &xattrs))?;
    say_found_elsewhere(&place.found_elsewhere());
    Ok(Outcome::findings_if(place.is_stale()))
}

fn view(place: &OpenPlace, layout: Option<Layout>, target: Option<Vec<u8>>, xattrs: &[Xattr]) -> View {
    let inode = &place.inode;
    let device = match inode.kind {
        FileKind::CharacterDevice { major, minor } | FileKind::BlockDevice { major, minor } => Some((major, minor)),
        _ => None,
    };
    let identity = place.filesystem.identity();
    let shown = |xattr: &Xattr| XattrView { name: NameView(xattr.name.clone()), value_hex: hex(&xattr.value) };
    View {
        schema: "icecore.stat.v1",
        source: place.into(),
        file: FileView::new(place.name().unwrap_or(b"/").to_vec(), inode, target),
        generation: inode.generation,
        allocated_bytes: inode.sectors.saturating_mul(512),
        accessed: moment(inode.accessed),
        created: inode.created.map(moment),
        encrypted: inode.encrypted,
        major: device.map(|(major, _)| major),
        minor: device.map(|(_, minor)| minor),
        extents: layout.map(|layout| layout.extents),
        data_bytes: layout.map(|layout| layout.data_bytes),
        unwritten_bytes: layout.map(|layout| layout.unwritten_bytes),
        xattrs: xattrs.iter().map(shown).collect(),
        filesystem_uuid: uuid(identity),
        filesystem_label: NameView(identity.label.clone()),
    }
}

fn uuid(identity: &Identity) -> String {
    let hex = hex(&identity.uuid);
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

fn describe(place: &OpenPlace, view: &View, target: Option<&[u8]>, xattrs: &[Xattr]) -> String {
    let inode = &place.inode;
    let mut lines = vec![
        ("file", place.shown()),
        ("kind", kind(inode.kind).replace('_', " ")),
        ("inode", format!("{} (generation {}), {}", inode.number.0, inode.generation, text::count(inode.links.into(), "link"))),
        ("mode", format!("{} ({:04o})", mode_text(inode), inode.mode)),
        ("owner", format!("{}:{}", inode.uid, inode.gid)),
        ("size", format!("{} bytes, {} allocated", inode.size, view.allocated_bytes)),
        ("modified", moment(inode.modified)),
        ("accessed", view.accessed.clone()),
        ("changed", view.file.changed.clone()),
    ];
    lines.extend(view.created.clone().map(|created| ("created", created)));
    lines.extend(target.map(|target| ("target", printable(target))));
    lines.extend(view.major.zip(view.minor).map(|(major, minor)| ("device", format!("{major}, {minor}"))));
    if let (Some(extents), Some(data), Some(unwritten)) = (view.extents, view.data_bytes, view.unwritten_bytes) {
        let extents = text::count(extents, "extent");
        lines.push(("layout", format!("{extents} with {data} bytes of data, {unwritten} bytes reserved")));
    }
    if inode.encrypted {
        lines.push(("encrypted", "by the file system; its content cannot be read".to_owned()));
    }
    for xattr in xattrs {
        lines.push(("attribute", format!("{} ({} bytes)", printable(&xattr.name), xattr.value.len())));
    }
    lines.push(("in", format!("{} {}", place.filesystem.identity().kind, uuid(place.filesystem.identity()))));
    lines.push(("evidence", format!("{}; {}", place.evidence(), replay(place.filesystem.view()))));
    lines.into_iter().map(|(name, what)| format!("{name:<10} {what}\n")).collect()
}

fn replay(view: &Replay) -> String {
    match view {
        Replay::Clean => "nothing had to be replayed".to_owned(),
        Replay::Replayed { transactions, .. } => format!("journal replayed ({})", text::count(*transactions, "transaction")),
        Replay::Stale { reason } => format!("STALE view: {reason}"),
    }
}
