//! Settings of several files as one: the user's own, and those of a nearer file. Rules add up, and
//! where both files say something else, one of them wins. The current directory's file may belong to
//! another person: it only chooses a model, lowers limits and denies.

use super::{CompileSettings, PermissionSettings, RunSettings, ServeSettings, Settings};
use crate::external::{CommandSettings, NetworkSettings};
use crate::units::Deadline;
use lastword::model::{ModelsConfig, ServiceConfig};
use lastword::secrets::SecretsConfig;
use std::collections::BTreeMap;
use std::time::Duration;

impl Settings {
    /// Returns both: where they differ, the nearer file that a person has named wins.
    pub(super) fn under_named(self, named: Self) -> Self {
        named.before(self)
    }

    /// Returns both: where they differ, the user's own win over those of the current directory,
    /// which may choose another model for runs, and only lower limits.
    pub(super) fn under_folder(self, folder: Self) -> Self {
        let run = self.run.clone().lowered(folder.run.clone());
        let default = folder.models.default.clone();
        let default = default.or_else(|| self.models.default.clone());
        let mut both = self.before(folder);
        both.run = run;
        both.models.default = default;
        both
    }

    /// Returns both: where they differ, these win.
    fn before(self, other: Self) -> Self {
        Self {
            models: models(self.models, other.models),
            run: self.run.before(other.run),
            permissions: self.permissions.before(other.permissions),
            serve: self.serve.before(other.serve),
            compile: CompileSettings {
                memory: self.compile.memory.or(other.compile.memory),
                time: self.compile.time.or(other.compile.time),
            },
            // One table says what a command may do; parts of two would allow what neither does.
            commands: if self.commands == CommandSettings::default() {
                other.commands
            } else {
                self.commands
            },
            network: NetworkSettings {
                private: joined(other.network.private, self.network.private),
            },
            secrets: SecretsConfig(named(self.secrets.0, other.secrets.0)),
            mcp: named(self.mcp, other.mcp),
        }
    }
}

impl RunSettings {
    fn before(self, other: Self) -> Self {
        Self {
            model: self.model.or(other.model),
            deadline: self.deadline.or(other.deadline),
            grace: self.grace.or(other.grace),
            memory: self.memory.or(other.memory),
            max_tokens: self.max_tokens.or(other.max_tokens),
            max_cost: self.max_cost.or(other.max_cost),
            max_tool_calls: self.max_tool_calls.or(other.max_tool_calls),
            max_wakes: self.max_wakes.or(other.max_wakes),
            data_dir: self.data_dir.or(other.data_dir),
        }
    }

    /// Returns these with the model of others, and the lower of each limit.
    fn lowered(self, other: Self) -> Self {
        let length = |deadline: &Deadline| deadline.0.unwrap_or(Duration::MAX);
        let deadlines = self.deadline.into_iter().chain(other.deadline);
        Self {
            model: other.model.or(self.model),
            deadline: deadlines.min_by_key(length),
            grace: lower(self.grace, other.grace),
            memory: lower(self.memory, other.memory),
            max_tokens: lower(self.max_tokens, other.max_tokens),
            max_cost: lower(self.max_cost, other.max_cost),
            max_tool_calls: lower(self.max_tool_calls, other.max_tool_calls),
            max_wakes: lower(self.max_wakes, other.max_wakes),
            data_dir: self.data_dir.or(other.data_dir),
        }
    }
}

impl PermissionSettings {
    fn before(self, other: Self) -> Self {
        Self {
            allow: joined(other.allow, self.allow),
            deny: joined(other.deny, self.deny),
            ask: self.ask.or(other.ask),
        }
    }
}

impl ServeSettings {
    fn before(self, other: Self) -> Self {
        Self {
            listen: self.listen.or(other.listen),
            token_file: self.token_file.or(other.token_file),
            no_token: self.no_token || other.no_token,
            root: joined(other.root, self.root),
            allow_host: joined(other.allow_host, self.allow_host),
            agents: named(self.agents, other.agents),
            model: self.model.or(other.model),
            concurrent_runs: self.concurrent_runs.or(other.concurrent_runs),
            drain: self.drain.or(other.drain),
            exit_when_idle: self.exit_when_idle.or(other.exit_when_idle),
            on_last_client: self.on_last_client.or(other.on_last_client),
            retention: self.retention.or(other.retention),
            streams: self.streams.or(other.streams),
        }
    }
}

fn models(first: ModelsConfig, other: ModelsConfig) -> ModelsConfig {
    ModelsConfig {
        default: first.default.or(other.default),
        openai: service(first.openai, other.openai),
        anthropic: service(first.anthropic, other.anthropic),
        gemini: service(first.gemini, other.gemini),
        ollama: service(first.ollama, other.ollama),
        prices: named(first.prices, other.prices),
    }
}

fn service(first: ServiceConfig, other: ServiceConfig) -> ServiceConfig {
    // A key belongs to the address that it was written beside.
    let (address, key) = if says_where(&first) {
        (first.base_url, (first.api_key_env, first.api_key_file))
    } else {
        (other.base_url, (other.api_key_env, other.api_key_file))
    };

    ServiceConfig {
        base_url: address,
        api_key_env: key.0,
        api_key_file: key.1,
        idle_timeout_s: first.idle_timeout_s.or(other.idle_timeout_s),
        first_event_timeout_s: first.first_event_timeout_s.or(other.first_event_timeout_s),
        context_tokens: first.context_tokens.or(other.context_tokens),
    }
}

fn says_where(service: &ServiceConfig) -> bool {
    service.base_url.is_some() || service.api_key_env.is_some() || service.api_key_file.is_some()
}

fn joined<T>(mut first: Vec<T>, then: Vec<T>) -> Vec<T> {
    first.extend(then);
    first
}

/// Returns the entries of both tables; those of the first win.
fn named<T>(first: BTreeMap<String, T>, mut other: BTreeMap<String, T>) -> BTreeMap<String, T> {
    other.extend(first);
    other
}

fn lower<T: Ord>(first: Option<T>, other: Option<T>) -> Option<T> {
    first.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        toml::from_str(text).expect("these are settings")
    }

    #[test]
    fn a_folder_lowers_limits_and_raises_none() {
        let own = "[run]\ndeadline = '10m'\nmax_tokens = 50\nmax_cost = 0.5\n";
        let folder = "[run]\ndeadline = 'none'\nmax_tokens = 9\nmax_cost = 100\nmax_wakes = 3\n";
        let both = settings(own).under_folder(settings(folder)).run;
        assert_eq!(both.deadline, "10m".parse().ok());
        assert_eq!((both.max_tokens, both.max_wakes), (Some(9), Some(3)));
        assert_eq!(both.max_cost, "0.5".parse().ok());
        let named = settings(own).under_named(settings(folder)).run;
        assert_eq!(named.deadline, Some(Deadline(None)));
        assert_eq!(named.max_cost, "100".parse().ok());
    }

    #[test]
    fn a_folder_chooses_a_model_and_neither_its_price_nor_its_place() {
        let own = "[models.prices.x]\ninput = 1.0\noutput = 2.0\n[models.openai]\nidle_timeout_s = 5\n\
            [serve]\nlisten = 'none'\n[run]\nmodel = 'openai:x'\n";
        let folder = "[models.prices.x]\ninput = 0.0\noutput = 0.0\n[models.openai]\nidle_timeout_s = 9\n\
            [serve]\nlisten = '127.0.0.1:8020'\n[run]\nmodel = 'openai:y'\n";
        let both = settings(own).under_folder(settings(folder));
        assert_eq!(both.run.model.as_deref(), Some("openai:y"));
        assert_eq!(both.models.prices, settings(own).models.prices);
        assert_eq!(both.models.openai.idle_timeout_s, Some(5));
        assert_eq!(both.serve.listen, "none".parse().ok());
    }

    #[test]
    fn rules_add_up() {
        let own = "[permissions]\ndeny = ['network']\nallow = ['state']\n";
        let nearer = "[permissions]\ndeny = ['run-agents']\n";
        for both in [
            settings(own).under_folder(settings(nearer)),
            settings(own).under_named(settings(nearer)),
        ] {
            assert_eq!(both.permissions.deny().count(), 2);
            assert_eq!(both.permissions.allow().count(), 1);
        }
    }

    #[test]
    fn a_key_goes_to_the_address_that_it_stands_beside() {
        let own = "[models.openai]\napi_key_env = 'MINE'\n";
        let nearer = "[models.openai]\nbase_url = 'http://127.0.0.1:9/v1'\n";
        let both = settings(own).under_named(settings(nearer)).models.openai;
        assert_eq!(both.base_url.as_deref(), Some("http://127.0.0.1:9/v1"));
        assert_eq!(both.api_key_env, None);
    }
}
