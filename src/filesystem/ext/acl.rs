//! POSIX access control lists, from the form on disk to the form of `getxattr`.

/// Version of the form on disk.
const STORED: u32 = 1;
/// Version of the form that the kernel shows.
const SEEN: u32 = 2;
/// The id of entries that have none.
const NO_ID: u32 = u32::MAX;

/// True for the two attributes that hold a list.
pub(super) fn is_list(index: u8) -> bool {
    index == 2 || index == 3
}

/// Converts a list; an error says what is wrong with it.
pub(super) fn as_seen(stored: &[u8]) -> Result<Vec<u8>, &'static str> {
    const SHORT: &str = "an access control list ends too early";
    let (version, mut rest) = stored.split_first_chunk().ok_or(SHORT)?;
    if u32::from_le_bytes(*version) != STORED {
        return Err("an access control list has an unknown version");
    }
    let mut seen = SEEN.to_le_bytes().to_vec();
    while !rest.is_empty() {
        let (head, after) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
        let [tag, _, _, _] = *head;
        let (id, after) = match tag {
            // The user and the group of the file, the mask, and everybody else.
            1 | 4 | 16 | 32 => (NO_ID.to_le_bytes(), after),
            // A named user or group.
            2 | 8 => after.split_first_chunk().map(|(id, after)| (*id, after)).ok_or(SHORT)?,
            _ => return Err("an access control list has an unknown entry"),
        };
        seen.extend(head);
        seen.extend(id);
        rest = after;
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_entries_keep_their_id_and_others_get_none() {
        let stored = [&[1, 0, 0, 0][..], &[1, 0, 6, 0], &[2, 0, 4, 0, 0xE8, 3, 0, 0], &[32, 0, 0, 0]].concat();
        let seen = [&[2, 0, 0, 0][..], &[1, 0, 6, 0], &[255; 4], &[2, 0, 4, 0, 0xE8, 3, 0, 0], &[32, 0, 0, 0], &[255; 4]].concat();
        assert_eq!(as_seen(&stored), Ok(seen));
    }

    #[test]
    fn a_list_cut_anywhere_inside_an_entry_is_an_error() {
        let stored = [&[1, 0, 0, 0][..], &[2, 0, 4, 0, 0xE8, 3, 0, 0]].concat();
        for length in [0, 3, 5, 8, 11] {
            assert!(as_seen(&stored[..length]).is_err(), "{length}");
        }
        assert!(as_seen(&[2, 0, 0, 0]).is_err());
        assert!(as_seen(&[1, 0, 0, 0, 3, 0, 0, 0]).is_err());
    }
}
