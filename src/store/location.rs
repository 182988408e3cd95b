//! Where a store is, parsed from what an operator writes: a path or a URL, never with credentials in it.

use std::fmt;
use std::path::PathBuf;
use thiserror::Error;
use url::Url;

/// A parsed location; its text form is what an operator would write, and holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// A local directory.
    Directory(PathBuf),
    /// A fresh store in memory.
    Memory,
    /// A bucket, or an Azure container, and the prefix inside it ("" or segments joined by `/`).
    Bucket { cloud: Cloud, bucket: String, prefix: String },
}

/// Whose object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cloud {
    /// Amazon S3, or anything that speaks it.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage; the account, if the URL names it.
    Azure { account: Option<String> },
}

/// A location that cannot be understood, or must not be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum LocationError {
    /// Nothing was given.
    #[error("the location is empty; give a path, or a URL such as s3://bucket/prefix")]
    Empty,
    /// It looks like a URL and is none.
    #[error("this is no URL; write a path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix")]
    NoUrl,
    /// Nobody here speaks that.
    #[error("{0}:// is not supported; use a path, s3://, gs://, az:// or abfss://")]
    UnknownScheme(String),
    /// A URL ends up in logs and process lists.
    #[error("the URL holds credentials; take them out and set {0} instead")]
    HoldsCredentials(&'static str),
    /// A query, a fragment or a port.
    #[error("the URL has more than a bucket and a prefix; endpoints and options are set by environment variables such as {0}")]
    HoldsMore(&'static str),
    /// No bucket between the slashes.
    #[error("the URL names no bucket; write {0}://bucket/prefix")]
    NoBucket(String),
    /// A prefix that would not come back as it was written.
    #[error("the prefix in the URL has empty, hidden or odd segments; use a-z A-Z 0-9 . _ - in segments parted by /")]
    OddPrefix,
    /// A `file:` URL of another machine, or none at all.
    #[error("a file URL looks like file:///absolute/path")]
    OddFile,
    /// An account-style Azure host that is not Azure's.
    #[error("the host is no Azure account; write abfss://container@account.dfs.core.windows.net/prefix")]
    OddAccount,
}

/// The longest prefix inside a bucket: with the longest key it stays under the 1,024 bytes of S3 and GCS.
const MAX_PREFIX_BYTES: usize = 512;
/// What a path may not begin with, because it is a URL with the slashes forgotten.
const SCHEMES: [&str; 8] = ["s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "file"];

impl Location {
    /// Parses a path or URL.
    pub(super) fn parse(text: &str) -> Result<Self, LocationError> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        if matches!(text, "memory:" | "memory://") {
            return Ok(Self::Memory);
        }
        match scheme(text) {
            None => Ok(Self::Directory(text.into())),
            Some(_) => Self::parse_url(&Url::parse(text).map_err(|_| LocationError::NoUrl)?),
        }
    }

    fn parse_url(url: &Url) -> Result<Self, LocationError> {
        match url.scheme() {
            "file" => parse_file(url),
            "s3" | "s3a" => parse_bucket(url, Cloud::S3, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
            "gs" => parse_bucket(url, Cloud::Google, "GOOGLE_APPLICATION_CREDENTIALS"),
            "abfs" | "abfss" if !url.username().is_empty() => parse_account(url),
            "az" | "azure" | "abfs" | "abfss" => parse_bucket(url, Cloud::Azure { account: None }, "AZURE_STORAGE_ACCOUNT_KEY"),
            other => Err(LocationError::UnknownScheme(other.to_owned())),
        }
    }
}

/// What stands before `://`, or before `:` if it is one of ours: `s3:bucket` is a slip, not a directory.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && !scheme.contains('/');
    (is_scheme && (rest.starts_with("//") || SCHEMES.contains(&scheme))).then_some(scheme)
}

fn parse_file(url: &Url) -> Result<Location, LocationError> {
    refuse_more(url, "AWS_ENDPOINT_URL")?;
    let path = url.to_file_path().map_err(|()| LocationError::OddFile)?;
    Ok(Location::Directory(path))
}

fn parse_bucket(url: &Url, cloud: Cloud, credentials: &'static str) -> Result<Location, LocationError> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(LocationError::HoldsCredentials(credentials));
    }
    refuse_more(url, endpoint_setting(&cloud))?;
    let bucket = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| LocationError::NoBucket(url.scheme().to_owned()))?;
    Ok(Location::Bucket { cloud, bucket: bucket.to_owned(), prefix: parse_prefix(url)? })
}

/// `abfss://container@account.dfs.core.windows.net/prefix`, where the user's place holds the container.
fn parse_account(url: &Url) -> Result<Location, LocationError> {
    if url.password().is_some() {
        return Err(LocationError::HoldsCredentials("AZURE_STORAGE_ACCOUNT_KEY"));
    }
    let azure = Cloud::Azure { account: None };
    refuse_more(url, endpoint_setting(&azure))?;
    let host = url.host_str().unwrap_or_default();
    let account = [".dfs.core.windows.net", ".blob.core.windows.net"].iter().find_map(|domain| host.strip_suffix(domain));
    let account = account.filter(|account| !account.is_empty() && !account.contains('.')).ok_or(LocationError::OddAccount)?;
    let cloud = Cloud::Azure { account: Some(account.to_owned()) };
    Ok(Location::Bucket { cloud, bucket: url.username().to_owned(), prefix: parse_prefix(url)? })
}

fn endpoint_setting(cloud: &Cloud) -> &'static str {
    match cloud {
        Cloud::S3 => "AWS_ENDPOINT_URL",
        Cloud::Google => "GOOGLE_BASE_URL",
        Cloud::Azure { .. } => "AZURE_STORAGE_ENDPOINT",
    }
}

fn refuse_more(url: &Url, setting: &'static str) -> Result<(), LocationError> {
    if url.query().is_some() || url.fragment().is_some() || url.port().is_some() {
        return Err(LocationError::HoldsMore(setting));
    }
    Ok(())
}

/// The path of a URL without the slashes around it.
fn parse_prefix(url: &Url) -> Result<String, LocationError> {
    let prefix = url.path().trim_matches('/');
    let sound = |segment: &str| {
        !segment.is_empty()
            && !segment.starts_with('.')
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    let is_sound = prefix.is_empty() || (prefix.len() <= MAX_PREFIX_BYTES && prefix.split('/').all(sound));
    if is_sound { Ok(prefix.to_owned()) } else { Err(LocationError::OddPrefix) }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, prefix) = match self {
            Self::Directory(path) => return write!(f, "{}", path.display()),
            Self::Memory => return f.write_str("memory:"),
            Self::Bucket { cloud: Cloud::S3, bucket, prefix } => (format!("s3://{bucket}"), prefix),
            Self::Bucket { cloud: Cloud::Google, bucket, prefix } => (format!("gs://{bucket}"), prefix),
            Self::Bucket { cloud: Cloud::Azure { account: None }, bucket, prefix } => (format!("az://{bucket}"), prefix),
            Self::Bucket { cloud: Cloud::Azure { account: Some(account) }, bucket, prefix } => {
                (format!("abfss://{bucket}@{account}.dfs.core.windows.net"), prefix)
            }
        };
        if prefix.is_empty() { f.write_str(&start) } else { write!(f, "{start}/{prefix}") }
    }
}

/// A location for an error message, whatever may be hidden in it: the scheme, and nothing after it, when it cannot be parsed.
pub(super) fn without_secrets(text: &str) -> String {
    match (Location::parse(text), scheme(text)) {
        (Ok(location), _) => location.to_string(),
        (Err(_), Some(scheme)) => format!("{scheme}://…"),
        (Err(_), None) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
