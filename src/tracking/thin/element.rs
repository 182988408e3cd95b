//! Lines as the thin tools print them, one element each, and nothing else: whatever is not of that form is no element.

/// Enough for a superblock; the other elements have less.
const MAX_ATTRIBUTES: usize = 16;

/// How an element stands on its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `<name …>`: others follow within.
    Opens,
    /// `</name>`.
    Closes,
    /// `<name …/>`.
    Whole,
}

/// One element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) form: Form,
    pub(super) name: &'a str,
    attributes: Vec<(&'a str, &'a str)>,
}

impl<'a> Element<'a> {
    /// The one element of a line.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let inner = line.trim().strip_prefix('<')?.strip_suffix('>')?;
        let (form, inner) = match (inner.strip_prefix('/'), inner.strip_suffix('/')) {
            (Some(name), None) => (Form::Closes, name),
            (None, Some(inner)) => (Form::Whole, inner),
            (None, None) => (Form::Opens, inner),
            (Some(_), Some(_)) => return None,
        };
        let (name, attributes) = inner.split_once(' ').unwrap_or((inner, ""));
        let is_named = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        is_named.then_some(())?;
        Some(Self { form, name, attributes: parse_attributes(attributes)? })
    }

    /// An attribute that must be there, and be a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        let (_, value) = self.attributes.iter().find(|(known, _)| *known == name)?;
        value.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
        value.parse().ok()
    }

    /// These attributes and no others.
    pub(super) fn numbers<const N: usize>(&self, names: [&str; N]) -> Option<[u64; N]> {
        (self.attributes.len() == N).then_some(())?;
        let mut out = [0; N];
        for (value, name) in out.iter_mut().zip(names) {
            *value = self.number(name)?;
        }
        Some(out)
    }
}

fn parse_attributes(text: &str) -> Option<Vec<(&str, &str)>> {
    let (mut attributes, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        let is_plain =
            !name.is_empty() && !name.contains(|c: char| !c.is_ascii_lowercase() && c != '_') && !value.contains(['<', '&']);
        let is_new = attributes.iter().all(|(known, _)| *known != name);
        (is_plain && is_new && attributes.len() < MAX_ATTRIBUTES).then_some(())?;
        attributes.push((name, value));
        rest = after.trim_start();
    }
    Some(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_element_with_its_attributes() {
        let opens = Element::parse(r#"  <device dev_id="3" mapped_blocks="8">"#).unwrap();
        assert_eq!((opens.form, opens.name), (Form::Opens, "device"));
        assert_eq!((opens.number("dev_id"), opens.number("absent")), (Some(3), None));
        let whole = Element::parse(r#"<same begin="0" length="18446744073709551615"/>"#).unwrap();
        assert_eq!((whole.form, whole.numbers(["begin", "length"])), (Form::Whole, Some([0, u64::MAX])));
        assert_eq!((whole.numbers(["begin"]), whole.numbers(["begin", "end"])), (None, None));
        let closes = Element::parse("</superblock>").unwrap();
        assert_eq!((closes.form, closes.name), (Form::Closes, "superblock"));
        assert_eq!(Element::parse(r#"<superblock uuid="">"#).unwrap().number("uuid"), None);
    }

    #[test]
    fn whatever_else_a_line_may_be_is_no_element() {
        for line in [
            "",
            "<",
            "<>",
            "</>",
            "</a/>",
            "text",
            "<a",
            "a>",
            "<a b>",
            "<a b=c/>",
            "<a b=\"c/>",
            "<a =\"1\"/>",
            "<a b=\"1\" b=\"2\"/>",
            "<a b=\"<\"/>",
            "<A/>",
            "<a b=\"1\"/><c/>",
            "<!-- a -->",
            "<a B=\"1\"/>",
        ] {
            assert_eq!(Element::parse(line), None, "{line:?}");
        }
        for value in ["", "-1", "+1", "0x1", "1 ", "18446744073709551616"] {
            let line = format!("<a b=\"{value}\"/>");
            assert_eq!(Element::parse(&line).and_then(|element| element.number("b")), None, "{line}");
        }
        let many: String = (0..=MAX_ATTRIBUTES).map(|index| format!(" {}=\"1\"", "a".repeat(index + 1))).collect();
        assert_eq!(Element::parse(&format!("<a{many}/>")), None);
    }
}
