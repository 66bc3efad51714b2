//! Converts a dialogue's setup to the core's options.

use std::sync::Arc;

use broker_core::account::{AccountConfig, Export, GLOBAL, Import, Mapping, ShareKind};
use broker_core::auth::{AllowResponses, Authenticator, NoAuth, Permissions, Token, User, Users};
use broker_core::{Limits, Options, SubjectFilter};
use transcripts::Setup;

/// Returns the options that it sets; all others are defaults.
pub(crate) fn options(setup: &Setup) -> Options {
    let mut limits = Limits::default();
    let count = |count: u32| usize::try_from(count).unwrap();
    set(&mut limits.max_payload_bytes, setup.max_payload.map(count));
    set(&mut limits.max_control_line_bytes, setup.max_control_line.map(count));
    set(&mut limits.max_connections, setup.max_connections.map(count).map(Some));
    set(&mut limits.max_subscriptions, setup.max_subscriptions.map(count).map(Some));
    set(&mut limits.max_subscription_tokens, setup.max_sub_tokens.map(usize::from).map(Some));
    set(&mut limits.ping_interval, setup.ping_interval);
    set(&mut limits.ping_max, setup.ping_max);
    set(&mut limits.auth_timeout, setup.auth_timeout);
    let mut accounts = vec![mapped(setup)];
    accounts.extend(setup.accounts().into_iter().map(|name| account(setup, name)));
    let no_header_support = setup.no_header_support;
    let accounts = accounts.into_iter().map(Into::into).collect();
    Options { limits, no_header_support, accounts, ..Options::default() }
}

fn mapped(setup: &Setup) -> AccountConfig {
    let mut sources: Vec<_> = setup.mappings.iter().map(|one| &one.source).collect();
    sources.dedup();
    sources.into_iter().fold(AccountConfig::new(GLOBAL), |account, source| {
        let own = setup.mappings.iter().filter(|one| one.source == *source);
        let mapping = own.fold(Mapping::builder(source.as_str()), |mapping, one| {
            mapping.to(one.destination.as_str(), one.weight.unwrap_or(100))
        });
        account.with_mapping(mapping.build().unwrap())
    })
}

fn account(setup: &Setup, name: &str) -> AccountConfig {
    let filter = |text: &str| SubjectFilter::parse(text).unwrap();
    let kind = |text: &str| match text {
        "stream" => ShareKind::Stream,
        _ => ShareKind::Service,
    };
    let mut config = AccountConfig::new(name);
    for export in setup.exports.iter().filter(|one| one.account == name) {
        config = config.with_export(Export::new(kind(&export.kind), filter(&export.subject)));
    }
    for one in setup.imports.iter().filter(|one| one.account == name) {
        let import = Import::new(kind(&one.kind), one.from.as_str(), filter(&one.subject));
        config = config.with_import(match &one.local {
            None => import,
            Some((how, local)) if how == "prefix" => import.with_prefix(local.as_str()),
            Some((_, local)) => import.with_to(local.as_str()),
        });
    }
    config
}

fn set<T>(field: &mut T, wish: Option<T>) {
    if let Some(wish) = wish {
        *field = wish;
    }
}

/// Returns the authenticator.
pub(crate) fn authenticator(setup: &Setup) -> Arc<dyn Authenticator> {
    if let Some(token) = &setup.token {
        return Arc::new(Token::new(token.as_str()));
    }
    if setup.users.is_empty() {
        return Arc::new(NoAuth);
    }
    let mut users = Users::builder().users(setup.users.iter().map(user));
    if let Some(name) = &setup.no_auth_user {
        users = users.no_auth_user(name.as_str());
    }
    Arc::new(users.build().unwrap())
}

fn user(user: &transcripts::User) -> User {
    let mut permissions = Permissions::builder();
    let (publish, subscribe) = (&user.publish, &user.subscribe);
    if !publish.allow.is_empty() {
        permissions = permissions.publish_allow(&publish.allow);
    }
    if !subscribe.allow.is_empty() {
        permissions = permissions.subscribe_allow(&subscribe.allow);
    }
    permissions = permissions.publish_deny(&publish.deny).subscribe_deny(&subscribe.deny);
    if let Some(responses) = &user.allow_responses {
        let responses = AllowResponses::new(responses.max.into(), Some(responses.expires));
        permissions = permissions.allow_responses(responses);
    }
    let own = User::new(user.name.as_str(), user.password.as_str());
    let own = own.permissions(permissions.build().unwrap());
    match &user.account {
        Some(account) => own.account(account.as_str()),
        None => own,
    }
}
