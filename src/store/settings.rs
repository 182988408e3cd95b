//! Settings of a store by their usual environment names, handed in so that nothing below reads the environment.

use std::collections::BTreeMap;
use std::env;
use std::fmt;

/// Names and values such as `AWS_REGION` = `eu-central-1`. Debug output shows the names only: values may be secret.
#[derive(Clone, Default)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Nothing is set.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// What the process's environment says for the clouds: `AWS_*`, `GOOGLE_*`, `AZURE_*` and their few outliers.
    #[must_use]
    pub fn from_environment() -> Self {
        let text = env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self(text.filter(|(name, _)| concerns_a_store(name)).collect())
    }

    /// The same with one more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    /// One value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All whose name starts with `start`.
    pub(super) fn starting<'a>(&'a self, start: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter(move |(name, _)| name.starts_with(start)).map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn concerns_a_store(name: &str) -> bool {
    ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|start| name.starts_with(start))
        || ["SERVICE_ACCOUNT", "IDENTITY_ENDPOINT"].contains(&name)
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_names_settings_and_hides_their_values() {
        let settings = Settings::none().with("AWS_SECRET_ACCESS_KEY", "hunter2");
        assert_eq!(format!("{settings:?}"), r#"{"AWS_SECRET_ACCESS_KEY"}"#);
    }

    #[test]
    fn only_names_of_stores_are_taken_from_the_environment() {
        for (name, taken) in [("AWS_REGION", true), ("IDENTITY_ENDPOINT", true), ("HOME", false), ("MY_AWS_KEY", false)] {
            assert_eq!(concerns_a_store(name), taken, "{name}");
        }
    }
}
