//! Loading and merging of all sources.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Value as Plain};
use figment::{Figment, Profile, Provider as _};
use serde::de::DeserializeOwned;

use super::access::Deciders;
use super::lists::{Lists, PlacedLists};
use crate::config::check::{Unusable, plain_dict};
use crate::config::deserialize::deserialize;
use crate::config::layer::Layer;
use crate::config::path::Path as OptionPath;
use crate::config::problem::{Findings, Origin, Problem};
use crate::config::settle::Missing;
use crate::config::table::Section;
use crate::config::{Check, Sources, environment, lang, settle};
use crate::options::{Advice, Options, has_no_port};

/// The sources to load. Kept for a reload, which loads the same sources again.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// Options set on the command line.
    pub flags: Layer,
    /// Environment variables: `NATSD_…`, and those that files refer to as `$NAME`.
    pub environment: BTreeMap<String, String>,
}

/// Loaded options and their provenance.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The sources loaded.
    pub request: Request,
    /// The options.
    pub options: Options,
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// Digest of the file's contents: `sha256:…`.
    pub digest: Option<String>,
    /// The warnings.
    pub warnings: Vec<Problem>,
    /// The files and their hashes, to detect changes.
    pub(crate) sources: Sources,
}

/// All errors of a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigErrors {
    /// The file cannot be read or parsed.
    #[error(transparent)]
    Language(#[from] lang::Error),
    /// The sources contain errors.
    #[error("{}", Lines(errors))]
    Problems {
        /// The errors.
        errors: Vec<Problem>,
        /// The warnings.
        warnings: Vec<Problem>,
    },
}

impl ConfigErrors {
    /// Returns true if all errors concern the command line.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Language(_) => false,
            Self::Problems { errors, .. } => {
                errors.iter().all(|problem| matches!(problem.origin, Origin::Flag(_)))
            }
        }
    }
}

/// Displays one problem per line.
struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

/// Reads all sources.
///
/// # Errors
///
/// Returns [`ConfigErrors`]: all errors with their places.
pub fn load(request: &Request) -> Result<Loaded, ConfigErrors> {
    load_checked(request).map(|(loaded, _)| loaded)
}

/// Reads all sources, and returns the access rules that the check of the options has made.
pub(crate) fn load_checked(request: &Request) -> Result<(Loaded, Deciders), ConfigErrors> {
    let variables = |name: &str| request.environment.get(name).cloned();
    let Some(path) = &request.file else { return over_each_other(request, None) };
    let (document, sources) =
        Sources::of(|open| lang::load_with(path, &lang::Surroundings { env: &variables, open }))?;
    let (loaded, deciders) = over_each_other(request, Some((path, &document)))?;
    Ok((Loaded { sources, ..loaded }, deciders))
}

/// Like [`load`], with a text in place of the file. `name` is used as its file name: errors mention
/// it, and included files are looked up relative to it.
///
/// # Errors
///
/// See [`load`].
pub fn load_text(text: &str, name: &str, request: &Request) -> Result<Loaded, ConfigErrors> {
    let variables = |name: &str| request.environment.get(name).cloned();
    let document = lang::parse(text, name, &variables)?;
    over_each_other(request, Some((Path::new(name), &document))).map(|(loaded, _)| loaded)
}

/// Merges all sources; `document` is the parsed configuration file.
fn over_each_other(
    request: &Request,
    document: Option<(&Path, &lang::Document)>,
) -> Result<(Loaded, Deciders), ConfigErrors> {
    let top = Options::block();
    let mut findings = Findings::default();
    let mut digest = None;

    let mut file = Layer::default();
    let mut lists = Lists::default();
    if let Some((path, document)) = document {
        file = from_file(path, document, &mut lists, &mut findings);
        digest = Some(document.digest.clone());
    }
    let environment = environment::read(top, &request.environment, &mut findings);

    let origins = OnceCell::new();
    let origin = |path: &str| {
        let layers = [&environment, &request.flags];
        let document = document.map(|(_, document)| document);
        find_origin(origins.get_or_init(|| all_origins(document, layers)), path)
    };

    let figment = Figment::from(&file).merge(&environment).merge(&request.flags);
    let mut values = figment.data().map_err(|_| unusable())?;
    let mut values = values.remove(&Profile::Default).unwrap_or_default();
    let mut lists: PlacedLists = lists.take_placed(&mut values);
    let mut parts = Vec::new();
    settle::not_yet(top, &values, OptionPath::ROOT, &mut parts);
    parts.extend(lists.not_yet());
    for Missing { path, part, passed_over } in parts {
        let mut what = format!("natsd has no {part} yet");
        if !matches!(origin(&path), Origin::Flag(_)) {
            what = format!("{path}: {what}");
        }
        match passed_over {
            Some(so) => findings.warn(origin(&path), format!("{what}: {so}")),
            None => findings.error(origin(&path), what),
        }
    }
    // NATS 2.14: main.go ConfigureOptions: routes in a file are ignored without a port.
    let has_routes = request.flags.origins().get("cluster.routes");
    if let (Some(flag), Some(cluster)) =
        (has_routes, values.get("cluster").and_then(Plain::as_dict))
        && has_no_port(cluster)
    {
        let what = "solicited routes require cluster capabilities, e.g. --cluster";
        findings.error(flag.clone(), what.to_owned());
    }
    if !findings.errors.is_empty() {
        return Err(findings.into());
    }

    let is_written = values.contains_key("authorization");
    let mut options: Options = extract(values)?;
    lists.put_into(&mut options);
    // Cleared without accounts, where it has no effect and should not show as a difference.
    options.authorization.is_written = is_written && !options.accounts.is_empty();
    options.tidy();
    let deciders = match options.checked_deciders() {
        Ok(deciders) => deciders,
        Err(error) => {
            findings.error(origin(error.path()), error.to_string());
            return Err(findings.into());
        }
    };
    for Advice { path, text } in options.advice() {
        findings.warn(origin(&path), text);
    }
    let file = request.file.clone();
    let request = request.clone();
    let (warnings, sources) = (findings.warnings, Sources::default());
    Ok((Loaded { request, options, file, digest, warnings, sources }, deciders))
}

fn from_file(
    path: &Path,
    document: &lang::Document,
    lists: &mut Lists,
    findings: &mut Findings,
) -> Layer {
    let mut check = Check::file_with_lists(lists);
    let values = check.block(Options::block(), &document.root, OptionPath::ROOT);
    if document.root.entries.is_empty() {
        let what = format!("{}: config has no values or is empty", path.display());
        check.findings.warn(Origin::Nowhere, what);
    }
    findings.errors.append(&mut check.findings.errors);
    findings.warnings.append(&mut check.findings.warnings);
    Layer::with(path.display().to_string(), values, check.origins)
}

/// Returns the origins of all values. This validates the file again, needed only for errors or
/// advice.
fn all_origins(document: Option<&lang::Document>, layers: [&Layer; 2]) -> BTreeMap<String, Origin> {
    let mut origins = BTreeMap::new();
    if let Some(document) = document {
        let mut check = Check::file();
        check.block(Options::block(), &document.root, OptionPath::ROOT);
        origins = check.origins;
    }
    for layer in layers {
        origins.extend(layer.origins().clone());
    }
    origins
}

/// Deserializes validated values as a section.
pub(super) fn extract<S: Section + DeserializeOwned>(mut values: Dict) -> Result<S, ConfigErrors> {
    settle::settle(S::block(), &mut values);
    deserialize(&plain_dict(values)).map_err(|_| unusable())
}

fn unusable() -> ConfigErrors {
    let mut findings = Findings::default();
    findings.error(Origin::Nowhere, Unusable.to_string());
    findings.into()
}

impl From<Findings> for ConfigErrors {
    fn from(Findings { errors, warnings }: Findings) -> Self {
        Self::Problems { errors, warnings }
    }
}

/// Returns the origin of an option, of a part of it, or of its block.
fn find_origin(origins: &BTreeMap<String, Origin>, path: &str) -> Origin {
    let inner = format!("{path}.");
    let mut within = origins.range(inner.clone()..).take_while(|(at, _)| at.starts_with(&inner));
    if let (None, Some((_, origin))) = (origins.get(path), within.next()) {
        return origin.clone();
    }
    let mut path = path;
    loop {
        if let Some(origin) = origins.get(path) {
            return origin.clone();
        }
        match path.rfind(['.', '[']) {
            Some(end) => path = &path[..end],
            None => return Origin::Nowhere,
        }
    }
}
