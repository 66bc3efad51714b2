//! All sources, over each other.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::value::{Dict, Value as Plain};
use serde::de::DeserializeOwned;

use super::user_lists::{PlacedUsers, UserLists};
use crate::config::check::Unusable;
use crate::config::layer::Layer;
use crate::config::problem::{Findings, Origin, Problem};
use crate::config::settle::Missing;
use crate::config::table::Section;
use crate::config::{Check, Sources, environment, lang, settle};
use crate::options::{Advice, Options, has_no_port};

/// What is to be loaded. Kept, it loads the same again: for a reload.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// What the command line sets.
    pub flags: Layer,
    /// The environment: `NATSD_…`, and what files name as `$NAME`.
    pub environment: BTreeMap<String, String>,
}

/// Options, and how they came about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// What was to be loaded.
    pub request: Request,
    /// The options.
    pub options: Options,
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// What tells one content of the file from another: `sha256:…`.
    pub digest: Option<String>,
    /// What is not wrong but should not be.
    pub warnings: Vec<Problem>,
    /// The files with their hashes: they show whether a file has changed.
    pub(crate) sources: Sources,
}

/// Why there are no options: all that is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigErrors {
    /// The file cannot be read, or is not in the language.
    #[error(transparent)]
    Language(#[from] lang::Error),
    /// What the sources say is wrong.
    #[error("{}", Lines(errors))]
    Problems {
        /// What is wrong.
        errors: Vec<Problem>,
        /// What is not wrong but should not be.
        warnings: Vec<Problem>,
    },
}

impl ConfigErrors {
    /// Is nothing wrong but the command line?
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Language(_) => false,
            Self::Problems { errors, .. } => {
                errors.iter().all(|problem| matches!(problem.origin, Origin::Flag(_)))
            }
        }
    }
}

/// One a line.
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
/// [`ConfigErrors`]: everything that is wrong, with its place.
pub fn load(request: &Request) -> Result<Loaded, ConfigErrors> {
    let variables = |name: &str| request.environment.get(name).cloned();
    let Some(path) = &request.file else { return over_each_other(request, None) };
    let (document, sources) =
        Sources::of(|open| lang::load_with(path, &lang::Surroundings { env: &variables, open }))?;
    let loaded = over_each_other(request, Some((path, &document)))?;
    Ok(Loaded { sources, ..loaded })
}

/// Reads all sources, with a text in place of the file. `name` is the file that it is said to come from: it
/// stands in errors, and what the text includes is looked for beside it.
///
/// # Errors
///
/// As [`load`].
pub fn load_text(text: &str, name: &str, request: &Request) -> Result<Loaded, ConfigErrors> {
    let variables = |name: &str| request.environment.get(name).cloned();
    let document = lang::parse(text, name, &variables)?;
    over_each_other(request, Some((Path::new(name), &document)))
}

/// `document` is what the file of that name holds.
fn over_each_other(
    request: &Request,
    document: Option<(&Path, &lang::Document)>,
) -> Result<Loaded, ConfigErrors> {
    let top = Options::block();
    let mut findings = Findings::default();
    let mut digest = None;

    let mut file = Layer::default();
    let mut users = UserLists::default();
    if let Some((path, document)) = document {
        file = from_file(path, document, &mut users, &mut findings);
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
    let mut values: Dict = figment.extract().map_err(|_| unusable())?;
    let mut users: PlacedUsers = users.take_placed(&mut values);
    let mut parts = Vec::new();
    settle::not_yet(top, &values, "", &mut parts);
    parts.extend(users.not_yet());
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
    // NATS 2.14: main.go ConfigureOptions: in a file, routes without a port are just not used.
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
    users.put_into(&mut options);
    // Without accounts it makes no difference, and should make none to those who compare options.
    options.authorization.is_written = is_written && !options.accounts.is_empty();
    options.tidy();
    if let Err(error) = options.check() {
        findings.error(origin(error.path()), error.to_string());
        return Err(findings.into());
    }
    for Advice { path, text } in options.advice() {
        findings.warn(origin(&path), text);
    }
    let file = request.file.clone();
    let request = request.clone();
    let (warnings, sources) = (findings.warnings, Sources::default());
    Ok(Loaded { request, options, file, digest, warnings, sources })
}

fn from_file(
    path: &Path,
    document: &lang::Document,
    users: &mut UserLists,
    findings: &mut Findings,
) -> Layer {
    let mut check = Check::file_with_lists(users);
    let values = check.block(Options::block(), &document.root, "");
    if document.root.entries.is_empty() {
        let what = format!("{}: config has no values or is empty", path.display());
        check.findings.warn(Origin::Nowhere, what);
    }
    findings.errors.append(&mut check.findings.errors);
    findings.warnings.append(&mut check.findings.warnings);
    Layer::with(path.display().to_string(), values, check.origins)
}

/// The place of every value. This walks the file once more: only a file with errors or advice needs it.
fn all_origins(document: Option<&lang::Document>, layers: [&Layer; 2]) -> BTreeMap<String, Origin> {
    let mut origins = BTreeMap::new();
    if let Some(document) = document {
        let mut check = Check::file();
        check.block(Options::block(), &document.root, "");
        origins = check.origins;
    }
    for layer in layers {
        origins.extend(layer.origins().clone());
    }
    origins
}

/// Checked values as a section.
pub(super) fn extract<S: Section + DeserializeOwned>(mut values: Dict) -> Result<S, ConfigErrors> {
    settle::settle(S::block(), &mut values);
    let merged = Layer::with("all sources", values, BTreeMap::new());
    Figment::from(merged).extract().map_err(|_| unusable())
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

/// Where an option was set, or something in it, or the block that it stands in.
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
