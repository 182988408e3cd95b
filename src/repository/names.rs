//! Which object holds what: the whole layout of a repository.

use super::ids::{LeaseId, PackId, PointId, RecordId, SlotId, VolumeKey};
use crate::store::ObjectKey;

/// Prefix of key slots.
pub(crate) const SLOTS: &str = "keys/";
/// Prefix of packs.
pub(crate) const PACKS: &str = "packs/";
/// Prefix of points.
pub(crate) const POINTS: &str = "points/";
/// Prefix of verdicts.
pub(crate) const VERDICTS: &str = "verdicts/";
/// Prefix of leases.
pub(crate) const LEASES: &str = "leases/";
/// Prefix of condemned lists.
pub(crate) const CONDEMNED: &str = "condemned/";

#[expect(clippy::expect_used, reason = "hexadecimal digits and the words above make valid names of bounded length")]
fn name(text: String) -> ObjectKey {
    ObjectKey::new(text).expect("names here are made of letters, digits and slashes")
}

pub(crate) fn config() -> ObjectKey {
    name("config".to_owned())
}

pub(crate) fn slot(id: SlotId) -> ObjectKey {
    name(format!("{SLOTS}{id}"))
}

/// Packs are spread over 256 folders, so that local directories stay quick.
pub(crate) fn pack(id: PackId) -> ObjectKey {
    let hex = id.to_string();
    name(format!("{PACKS}{}/{hex}", &hex[..2]))
}

pub(crate) fn parse_pack(key: &ObjectKey) -> Option<PackId> {
    PackId::parse(key.file_name()).filter(|id| pack(*id) == *key)
}

pub(crate) fn points_of(volume: VolumeKey) -> String {
    format!("{POINTS}{volume}/")
}

pub(crate) fn point(volume: VolumeKey, id: PointId) -> ObjectKey {
    name(format!("{POINTS}{volume}/{}", id.object_name()))
}

pub(crate) fn parse_point(key: &ObjectKey) -> Option<(VolumeKey, PointId)> {
    let (volume, id) = key.as_str().strip_prefix(POINTS)?.split_once('/')?;
    Some((VolumeKey::parse(volume)?, PointId::parse_object_name(id)?))
}

pub(crate) fn verdicts_of(point: PointId) -> String {
    format!("{VERDICTS}{}/", point.object_name())
}

pub(crate) fn verdict(point: PointId, id: RecordId) -> ObjectKey {
    name(format!("{VERDICTS}{}/{id}", point.object_name()))
}

pub(crate) fn parse_verdict(key: &ObjectKey) -> Option<(PointId, RecordId)> {
    let (point, id) = key.as_str().strip_prefix(VERDICTS)?.split_once('/')?;
    Some((PointId::parse_object_name(point)?, RecordId::parse(id)?))
}

pub(crate) fn lease(id: LeaseId) -> ObjectKey {
    name(format!("{LEASES}{id}"))
}

pub(crate) fn parse_lease(key: &ObjectKey) -> Option<LeaseId> {
    LeaseId::parse(key.as_str().strip_prefix(LEASES)?)
}

pub(crate) fn condemned(id: RecordId) -> ObjectKey {
    name(format!("{CONDEMNED}{id}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;

    #[test]
    fn names_are_read_back_as_they_were_made() {
        let point_id = PointId { time: Timestamp(99), random: [7; 10] };
        assert_eq!(parse_pack(&pack(PackId([0xab; 16]))), Some(PackId([0xab; 16])));
        assert_eq!(parse_point(&point(VolumeKey([1; 16]), point_id)), Some((VolumeKey([1; 16]), point_id)));
        assert_eq!(parse_verdict(&verdict(point_id, RecordId([2; 16]))), Some((point_id, RecordId([2; 16]))));
        assert_eq!(parse_lease(&lease(LeaseId([3; 16]))), Some(LeaseId([3; 16])));
        let elsewhere = ObjectKey::new(format!("packs/00/{}", PackId([0xab; 16]))).unwrap();
        assert_eq!(parse_pack(&elsewhere), None, "a pack in the wrong folder is not that pack");
    }
}
