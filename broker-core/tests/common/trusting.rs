//! A server in operator mode, with keys for operator, accounts and users by number.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker_core::auth::jwt::{AccountClaims, Claims, UserClaims, encode};
use broker_core::auth::nkey::{KeyKind, KeyPair};
use broker_core::auth::{Nonce, Secret};
use broker_core::operator::{MemoryResolver, OperatorMode, Trust};
use broker_core::session::client::Arrival;
use broker_core::{Broker, Clock, CloseReason, Options};

use crate::common::{Party, World};

pub(crate) const START: i64 = 1_700_000_000;

pub(crate) fn pair(kind: KeyKind, byte: u8) -> KeyPair {
    KeyPair::from_random(kind, [byte; 32])
}

pub(crate) fn operator() -> KeyPair {
    pair(KeyKind::Operator, 1)
}

pub(crate) fn account(byte: u8) -> KeyPair {
    pair(KeyKind::Account, byte)
}

pub(crate) fn user(byte: u8) -> KeyPair {
    pair(KeyKind::User, byte)
}

/// Both clocks of the broker, which the test moves.
#[derive(Clone)]
pub(crate) struct Time {
    base: Instant,
    pub(crate) seconds: Arc<AtomicI64>,
}

impl Clock for Time {
    fn now(&self) -> Instant {
        self.base
    }

    fn wall(&self) -> SystemTime {
        let seconds = u64::try_from(self.seconds.load(Ordering::Relaxed)).unwrap();
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }
}

/// A server that trusts one operator.
pub(crate) struct Trusting {
    pub(crate) world: World,
    pub(crate) mode: OperatorMode,
    pub(crate) accounts: MemoryResolver,
    pub(crate) seconds: Arc<AtomicI64>,
}

impl Trusting {
    pub(crate) fn new() -> Self {
        let accounts = MemoryResolver::default();
        let trust = Trust::keys([operator().public()]);
        Self::of(OperatorMode::builder(trust, accounts.clone()).build(), accounts)
    }

    /// `accounts`: where [`Self::store`] puts accounts.
    pub(crate) fn of(mode: OperatorMode, accounts: MemoryResolver) -> Self {
        let seconds = Arc::new(AtomicI64::new(START));
        let clock = Time { base: Instant::now(), seconds: Arc::clone(&seconds) };
        let broker = Broker::with_authenticator(Options::default(), clock, mode.clone());
        mode.attach(&broker);
        Self { world: World::of(broker), mode, accounts, seconds }
    }

    /// Signs and stores the claims of an account, and updates it if it is loaded.
    pub(crate) fn store(&self, key: &KeyPair, change: impl FnOnce(&mut AccountClaims)) {
        let mut claims: AccountClaims = Claims::new(key.public());
        claims.issued_at = START;
        change(&mut claims);
        let token = encode(&claims, &operator()).unwrap();
        self.accounts.store(key.public().to_string(), &token);
        let _ = self.mode.update_account(token.expose());
    }

    pub(crate) fn connect(&mut self, token: &Secret, key: &KeyPair) -> Party {
        self.connect_with(token, key, "")
    }

    /// Connects with further fields in CONNECT, each with a comma behind it.
    pub(crate) fn connect_with(&mut self, token: &Secret, key: &KeyPair, more: &str) -> Party {
        let nonce = Nonce::from_random([7; Nonce::BYTES]);
        let mut party = self.world.arrive_by(Arrival { nonce: Some(nonce), ..Arrival::default() });
        assert!(party.read().contains(&format!("\"nonce\":\"{nonce}\"")));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(nonce.to_string().as_bytes()));
        let connect = format!(
            "CONNECT {{\"verbose\":false,{more}\"jwt\":\"{}\",\"sig\":\"{signature}\",\"protocol\":1}}\r\nPING\r\n",
            token.expose()
        );
        self.world.send(&mut party, connect);
        party
    }

    /// Connects a user, who must be accepted.
    pub(crate) fn join(&mut self, token: &Secret, key: &KeyPair) -> Party {
        let party = self.connect(token, key);
        let read = party.read();
        assert!(read.starts_with("PONG\r\n"), "{read}");
        party
    }

    pub(crate) fn refuse(&mut self, token: &Secret, key: &KeyPair) {
        let party = self.connect(token, key);
        assert_eq!(party.read(), "-ERR 'Authorization Violation'\r\n");
        assert_eq!(party.closing(), Some(CloseReason::AuthenticationViolation));
    }

    /// Lets seconds pass for one client, which answers every PING.
    pub(crate) fn wait(&mut self, party: &mut Party, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
        for _ in 0..seconds {
            self.world.wait(party, Duration::from_secs(1));
            self.world.send(party, "PONG\r\n");
        }
        self.world.broker.do_periodic(self.world.now);
    }
}

/// Signs the claims of the user 9.
pub(crate) fn signed(issuer: &KeyPair, change: impl FnOnce(&mut UserClaims)) -> Secret {
    let mut claims: UserClaims = Claims::new(user(9).public());
    claims.issued_at = START;
    change(&mut claims);
    encode(&claims, issuer).unwrap()
}
