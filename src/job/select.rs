//! Which recovery point is meant: an id or the beginning of one, `latest`, `VOLUME@latest`, `VOLUME@TIME`.

use std::fmt;

use crate::base::clock::Timestamp;
use crate::job::JobError;
use crate::repository::{ListedPoint, RepositoryError};

/// A reading of what the user typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PointSelector {
    /// The newest point of all volumes.
    Latest,
    /// The newest point of a volume.
    LatestOf(String),
    /// The newest point of a volume that was cut no later than this.
    At(String, Timestamp),
    /// Points whose id begins so.
    Prefix(String),
}

impl PointSelector {
    /// Reads a selector; `parse_time` reads what stands behind the last @.
    pub fn parse(text: &str, parse_time: impl Fn(&str) -> Option<Timestamp>) -> Result<Self, JobError> {
        match text.rsplit_once('@') {
            None if text == "latest" => Ok(Self::Latest),
            None => Ok(Self::Prefix(text.to_ascii_lowercase())),
            Some((volume, "latest")) => Ok(Self::LatestOf(volume.to_owned())),
            Some((volume, time)) => parse_time(time).map(|time| Self::At(volume.to_owned(), time)).ok_or_else(|| {
                JobError::Refused(format!("{time:?} is no time; write 2026-05-31, 2026-05-31T14:00, or 2026-05-31T14:00:00Z"))
            }),
        }
    }

    /// The point that is meant, out of all of them.
    pub fn find<'a>(&self, points: &'a [ListedPoint]) -> Result<&'a ListedPoint, JobError> {
        let newest_cut = |point: &&ListedPoint| (point.point.cut, point.id);
        let found = match self {
            Self::Latest => points.iter().max_by_key(newest_cut),
            Self::LatestOf(volume) => of_volume(points, volume).max_by_key(newest_cut),
            Self::At(volume, time) => of_volume(points, volume).filter(|point| point.point.cut <= *time).max_by_key(newest_cut),
            Self::Prefix(prefix) => return by_prefix(prefix, points),
        };
        found.ok_or_else(|| no_such_point(&self.to_string()))
    }
}

impl fmt::Display for PointSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::LatestOf(volume) => write!(f, "{volume}@latest"),
            Self::At(volume, _) => write!(f, "{volume}@that time"),
            Self::Prefix(prefix) => f.write_str(prefix),
        }
    }
}

fn of_volume<'a, 'v>(points: &'a [ListedPoint], volume: &'v str) -> impl Iterator<Item = &'a ListedPoint> + use<'a, 'v> {
    points.iter().filter(move |point| point.point.volume == volume)
}

fn by_prefix<'a>(prefix: &str, points: &'a [ListedPoint]) -> Result<&'a ListedPoint, JobError> {
    let matching: Vec<_> = points.iter().filter(|point| !prefix.is_empty() && point.id.to_string().starts_with(prefix)).collect();
    match matching.as_slice() {
        [] => Err(no_such_point(prefix)),
        [point] => Ok(point),
        several => Err(RepositoryError::AmbiguousPoint { selector: prefix.to_owned(), count: several.len() }.into()),
    }
}

fn no_such_point(selector: &str) -> JobError {
    RepositoryError::NoSuchPoint { selector: selector.to_owned() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::extent::ExtentSet;
    use crate::repository::format::changes::{ChangeRecord, ChangeSource};
    use crate::repository::format::node::NodeRef;
    use crate::repository::format::point::{Consistency, Point, Statistics, Tree};
    use crate::repository::ids::{PointId, VolumeKey};

    fn point(volume: &str, cut: u64, random: [u8; 10]) -> ListedPoint {
        ListedPoint {
            id: PointId { time: Timestamp(cut + 5), random },
            volume: VolumeKey([0; 16]),
            digest: [0; 32],
            point: Point {
                volume: volume.into(),
                cut: Timestamp(cut),
                previous: None,
                source: String::new(),
                changes: ChangeRecord::of(ChangeSource::Full),
                consistency: Consistency::Quiescent,
                statistics: Statistics::default(),
                unreadable: ExtentSet::new(),
                omitted: ExtentSet::new(),
                incident: None,
                writer: String::new(),
                host: String::new(),
                catalog: None,
                file_tree: None,
                tree: Tree { size: 0, chunk_bytes: 16384, level: 0, root: NodeRef::Hole },
            },
        }
    }

    fn check(text: &str, expected: Result<u64, &str>) {
        let points =
            [point("a", 100, [0xab; 10]), point("a", 200, [0xac; 10]), point("b", 150, [0xbb; 10]), point("x@y", 50, [1; 10])];
        let time = |text: &str| text.parse().ok().map(Timestamp);
        let found = PointSelector::parse(text, time).and_then(|selector| selector.find(&points).map(|p| p.point.cut.0));
        match expected {
            Ok(cut) => assert_eq!(found.unwrap(), cut, "{text}"),
            Err(words) => assert!(found.unwrap_err().to_string().contains(words), "{text}"),
        }
    }

    #[test]
    fn selectors_find_the_point_that_they_mean() {
        check("latest", Ok(200));
        check("b@latest", Ok(150));
        check("a@199", Ok(100));
        check("a@200", Ok(200));
        check("x@y@latest", Ok(50));
        check("BB", Ok(150));
        check("ab", Ok(100));
    }

    #[test]
    fn selectors_that_mean_none_or_several_say_so() {
        check("a", Err("matches 2"));
        check("ff", Err("no recovery point"));
        check("", Err("no recovery point"));
        check("a@99", Err("no recovery point"));
        check("a@tomorrow", Err("is no time"));
        check("c@latest", Err("no recovery point"));
    }
}
