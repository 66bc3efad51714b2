//! Mappings of published subjects.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::transform::{check_mapping, is_covered};
use super::{SubjectFilter, SubjectTransform, Token, TransformError};
use crate::sort::sort_by_key;
use crate::sync::Arc;

/// The sum of the weights of destinations that together get every message.
const ALL: u8 = 100;

/// Maps the subjects that clients publish to: to one destination, or to several by weight.
///
/// ```
/// use broker_core::account::Mapping;
///
/// let moved = Mapping::to("orders.*.created", "created.$1")?;
/// assert_eq!(moved.destinations[0].weight, 100);
///
/// let canary = Mapping::builder("api.>").to("api.v2.>", 10).build()?;
/// let rest = &canary.destinations[1];
/// assert_eq!((rest.transform.destination(), rest.weight), ("api.>", 90));
/// # Ok::<(), broker_core::account::MappingError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Mapping {
    /// The subjects that it maps.
    pub source: SubjectFilter,
    /// The destinations, those of one cluster by weight, the lowest first. A message that no weight covers is
    /// lost.
    pub destinations: Vec<MapDestination>,
}

/// One destination of a [`Mapping`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct MapDestination {
    /// The transform of the subject.
    pub transform: SubjectTransform,
    /// The share of the messages, in percent.
    pub weight: u8,
    /// The cluster for whose servers the destination is meant; `None` for those of all clusters that have no
    /// destination of their own.
    pub cluster: Option<Arc<str>>,
}

/// The reason why a mapping is not valid. The texts are those of NATS.
// NATS 2.14: accounts.go AddWeightedMappings.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// The source is not a subject.
    #[error("invalid subject")]
    InvalidSource,
    /// Two destinations are equal.
    #[error("duplicate entry for {0:?}")]
    Duplicate(String),
    /// A weight above 100.
    #[error("individual weights need to be <= 100")]
    WeightTooLarge,
    /// The weights of one cluster add up to more than 100.
    #[error("total weight needs to be <= 100")]
    TotalTooLarge,
    /// A destination does not fit the source.
    #[error(transparent)]
    Transform(#[from] TransformError),
}

impl Mapping {
    /// Maps all messages to one destination.
    ///
    /// # Errors
    ///
    /// [`MappingError`] if the source is not a subject or the destination does not fit it.
    pub fn to(source: &str, destination: &str) -> Result<Self, MappingError> {
        Self::builder(source).to(destination, ALL).build()
    }

    /// Begins a mapping with several destinations.
    pub fn builder(source: impl Into<String>) -> MappingBuilder {
        MappingBuilder { source: source.into(), destinations: Vec::new() }
    }

    /// Returns the destinations for a server of that cluster, by weight.
    pub fn destinations_in(&self, cluster: Option<&str>) -> impl Iterator<Item = &MapDestination> {
        let is_of = move |one: &&MapDestination, of: Option<&str>| one.cluster.as_deref() == of;
        let has_own = self.destinations.iter().any(|one| is_of(&one, cluster));
        let of = cluster.filter(|_| has_own);
        self.destinations.iter().filter(move |one| is_of(one, of))
    }

    /// Returns true if the source matches a published subject.
    pub fn matches(&self, subject: &[u8]) -> bool {
        is_covered(&self.source, subject)
    }

    /// Orders mappings by how narrow their sources are: in the first token that differs, a literal one counts before
    /// `*`, and that before `>`.
    pub(super) fn cmp_narrowness(&self, other: &Self) -> Ordering {
        let rank = |token| match token {
            Token::Literal(_) => 0,
            Token::Partial => 1,
            Token::Full => 2,
        };
        self.source.tokens().map(rank).cmp(other.source.tokens().map(rank))
    }
}

/// Makes a [`Mapping`].
#[derive(Clone, Debug)]
pub struct MappingBuilder {
    source: String,
    destinations: Vec<Destination>,
}

#[derive(Clone, Debug)]
struct Destination {
    subject: String,
    weight: u8,
    cluster: Option<Arc<str>>,
}

impl MappingBuilder {
    /// Adds a destination that gets `weight` percent of the messages.
    #[must_use]
    pub fn to(self, destination: impl Into<String>, weight: u8) -> Self {
        self.add(destination.into(), weight, None)
    }

    /// Adds a destination for servers of a cluster.
    #[must_use]
    pub fn to_in_cluster(
        self,
        cluster: impl Into<Arc<str>>,
        destination: impl Into<String>,
        weight: u8,
    ) -> Self {
        self.add(destination.into(), weight, Some(cluster.into()))
    }

    fn add(mut self, subject: String, weight: u8, cluster: Option<Arc<str>>) -> Self {
        self.destinations.push(Destination { subject, weight, cluster });
        self
    }

    /// Makes the mapping. If the weights of a cluster add up to less than 100, the rest of its messages keep their
    /// subject, unless the source itself is a destination; then they are lost.
    ///
    /// # Errors
    ///
    /// [`MappingError`] if the source or a destination is not valid, or the weights are too large.
    pub fn build(self) -> Result<Mapping, MappingError> {
        let Self { source: text, destinations } = &self;
        let source = SubjectFilter::parse(text).map_err(|_| MappingError::InvalidSource)?;
        let mut clusters: BTreeMap<Option<Arc<str>>, Vec<MapDestination>> = BTreeMap::new();
        clusters.insert(None, Vec::new());
        for (at, one) in destinations.iter().enumerate() {
            if destinations[..at].iter().any(|before| before.subject == one.subject) {
                return Err(MappingError::Duplicate(one.subject.clone()));
            }
            let cluster = clusters.entry(one.cluster.clone()).or_default();
            check_weights(cluster, one.weight)?;
            check_mapping(&one.subject)?;
            let transform = SubjectTransform::new(text, &one.subject)?;
            let (weight, cluster_name) = (one.weight, one.cluster.clone());
            cluster.push(MapDestination { transform, weight, cluster: cluster_name });
        }
        let keeps_rest = destinations.iter().all(|one| one.subject != *text);
        let mut all = Vec::new();
        for (cluster, mut destinations) in clusters {
            let rest = ALL - destinations.iter().map(|one| one.weight).sum::<u8>();
            if rest > 0 && keeps_rest {
                let transform = SubjectTransform::identity(source.clone());
                destinations.push(MapDestination { transform, weight: rest, cluster });
            }
            sort_by_key(&mut destinations, |one| one.weight);
            all.append(&mut destinations);
        }
        Ok(Mapping { source, destinations: all })
    }
}

fn check_weights(before: &[MapDestination], weight: u8) -> Result<(), MappingError> {
    let total: u8 = before.iter().map(|one| one.weight).sum();
    if weight > ALL {
        Err(MappingError::WeightTooLarge)
    } else if total > ALL - weight {
        Err(MappingError::TotalTooLarge)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_no_weight_covers_keep_a_subject_with_a_token_of_destinations() {
        let mapping = Mapping::builder("a.$1.*").to("b.$1", 10).build().unwrap();
        let rest = mapping.destinations.iter().find(|one| one.weight == 90).unwrap();
        let mut mapped = Vec::new();
        rest.transform.apply(b"a.$1.x", || 0, &mut mapped);
        assert_eq!(mapped, b"a.$1.x");
    }

    fn shown(mapping: &Mapping) -> Vec<(&str, u8, Option<&str>)> {
        let all = mapping.destinations.iter();
        all.map(|one| (one.transform.destination(), one.weight, one.cluster.as_deref())).collect()
    }

    fn build(
        source: &str,
        destinations: &[(&str, u8, Option<&str>)],
    ) -> Result<Mapping, MappingError> {
        let add = |builder: MappingBuilder,
                   (destination, weight, cluster): &(&str, u8, Option<&str>)| {
            match cluster {
                None => builder.to(*destination, *weight),
                Some(cluster) => builder.to_in_cluster(*cluster, *destination, *weight),
            }
        };
        destinations.iter().fold(Mapping::builder(source), add).build()
    }

    #[test]
    fn the_rest_of_the_messages_keeps_its_subject() {
        let weighted = build("a.*", &[("y.$1", 50, None), ("x.$1", 20, None)]).unwrap();
        assert_eq!(shown(&weighted), [("x.$1", 20, None), ("a.$1", 30, None), ("y.$1", 50, None)]);
        let all = build("a", &[("x", 60, None), ("y", 40, None)]).unwrap();
        assert_eq!(shown(&all), [("y", 40, None), ("x", 60, None)]);
        assert_eq!(shown(&build("a", &[]).unwrap()), [("a", 100, None)]);
    }

    #[test]
    fn a_source_that_is_a_destination_gets_no_more_than_its_weight() {
        let lossy = build("a", &[("a", 10, None), ("b", 20, None)]).unwrap();
        assert_eq!(shown(&lossy), [("a", 10, None), ("b", 20, None)]);
        let lossy = build("a.>", &[("a.>", 10, None)]).unwrap();
        assert_eq!(shown(&lossy), [("a.>", 10, None)]);
    }

    #[test]
    fn the_weights_of_each_cluster_are_its_own() {
        let own = [("x", 100, None), ("y", 80, Some("east")), ("z", 100, Some("west"))];
        let mapping = build("a", &own).unwrap();
        let of = |cluster| {
            let all = mapping.destinations_in(cluster);
            all.map(|one| (one.transform.destination(), one.weight)).collect::<Vec<_>>()
        };
        assert_eq!(of(None), [("x", 100)]);
        assert_eq!(of(Some("north")), [("x", 100)]);
        assert_eq!(of(Some("east")), [("a", 20), ("y", 80)]);
        assert_eq!(of(Some("west")), [("z", 100)]);
    }

    // NATS 2.14: TestAccountWeightedMappingErrors and others.
    #[test]
    fn faults_have_the_texts_of_the_reference() {
        for (source, destinations, text) in [
            ("a..b", vec![("x", 1, None)], "invalid subject"),
            ("a", vec![("x", 1, None), ("x", 1, Some("east"))], "duplicate entry for \"x\""),
            ("a", vec![("x", 101, None)], "individual weights need to be <= 100"),
            ("a", vec![("x", 50, None), ("y", 51, None)], "total weight needs to be <= 100"),
            ("a.*", vec![("x.*", 50, None)], "invalid subject"),
            ("a", vec![("x..b", 50, None)], "invalid mapping destination: invalid transform"),
            ("a", vec![("x.>.b", 1, None)], "invalid mapping destination: invalid transform in b"),
            ("a", vec![("", 50, None)], "invalid mapping destination: invalid transform"),
            (
                "a",
                vec![("x y.{{left(2)}}", 50, None)],
                "invalid mapping destination: invalid transform",
            ),
            (
                "a",
                vec![("{{gone(1)}}", 50, None)],
                "invalid mapping destination: unknown function in {{gone(1)}}",
            ),
            (
                "a",
                vec![("x.$1", 50, None)],
                "invalid mapping destination: wildcard index out of range in $1",
            ),
        ] {
            let refused = build(source, &destinations).unwrap_err();
            assert_eq!(refused.to_string(), text);
        }
    }

    #[test]
    fn narrow_sources_are_ordered_before_wide_ones() {
        let sources = ["a.b", "a.*", "a.>", "*.b", "*.*.a", "*.*", "*", ">"];
        let mut all: Vec<_> = sources.iter().map(|one| build(one, &[]).unwrap()).collect();
        all.reverse();
        all.sort_by(Mapping::cmp_narrowness);
        let ordered: Vec<_> = all.iter().map(|one| one.source.to_string()).collect();
        assert_eq!(ordered, ["a.b", "a.*", "a.>", "*", "*.b", "*.*", "*.*.a", ">"]);
    }
}
