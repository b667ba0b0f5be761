//! What the demonstration plays with: keys made on the spot, and a configuration file that uses them.
//! Must not know how a webhook looks.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::cluster::DemoCluster;
use crate::config::Config;
use crate::config::files::FileReader;
use crate::provider::keys::{self, KeyFileError, PublicKey};

/// What the provider calls the merchant.
pub const PROJECT: &str = "demo";
/// The provider's own window, in seconds.
const WINDOW_S: u16 = 14_400;
/// When the deadline decides on a session, in seconds from its beginning: time enough to decide by hand, and not hours.
pub const DEADLINE_S: u16 = 600;

/// The rules of the configuration by their names, as one says them.
pub const RULES: [(&str, &str); 2] =
    [("large amounts", "more than 10000.00 USD → cancel"), ("small payouts", "1.00 to 500.00 USD → confirm")];

/// Sources by name, and how their sessions are decided; `{keys}` stands for the folder of their keys, `{api}` for the address
/// of the provider's session API. A signed time is good for a day, so that a webhook can be sent by hand long after it was made.
const SOURCES: &str = r#"
[sources.smart-glocal-demo]
provider = "smart-glocal"
public_key_files = ["{keys}/smart-glocal-public.pem"]

[sources.smart-glocal-demo.api]
base_url = "http://{api}"
version = 2
project = "{project}"
private_key_file = "{keys}/merchant-private.pem"

[sources.undostres-demo]
provider = "undostres"
key_files = ["{keys}/undostres.key"]

[sources.unipaas-demo]
provider = "unipaas"
secret_files = ["{keys}/unipaas.key"]

[sources.other-demo]
provider = "standard-webhooks"
secret_files = ["{keys}/standard-webhooks.key"]
tolerance_s = 86400

[sources.checkout-com-demo]
provider = "checkout-com"
secret_files = ["{keys}/checkout-com.key"]

[sources.stripe-demo]
provider = "stripe"
secret_files = ["{keys}/stripe.key"]

[sources.stripe-demo.timestamp]
tolerance_s = 86400

[confirmation]
enabled = true
window_s = {window}
deadline_margin_s = {margin}
at_deadline = "cancel"

[[confirmation.rules]]
name = "large amounts"
when = 'session.operations.exists(o, o.amount.currency == "USD" && o.amount.minor_units > 1000000)'
then = "cancel"

[[confirmation.rules]]
name = "small payouts"
when = 'session.operations.all(o, o.kind == "payout" && o.amount.currency == "USD" && o.amount.minor_units >= 100 && o.amount.minor_units <= 50000)'
then = "confirm"
"#;

/// The keys and the configuration; gone when this value is dropped.
pub struct Setup {
    /// The configuration that the bridge runs with.
    pub config: Config,
    /// The file that holds it, for other commands to use.
    pub config_file: PathBuf,
    folder: TempDir,
}

/// Where the parts listen.
pub struct Addresses {
    /// The bridge, for webhooks.
    pub ingress: SocketAddr,
    /// The bridge, for probes and metrics.
    pub admin: SocketAddr,
    /// The provider, for the bridge's calls.
    pub api: SocketAddr,
}

impl Setup {
    /// Makes keys and writes the configuration file.
    ///
    /// # Errors
    /// The temporary folder cannot be written.
    pub fn prepare(cluster: &DemoCluster, addresses: &Addresses) -> anyhow::Result<Self> {
        let Addresses { ingress, admin, api } = addresses;
        let folder = tempfile::Builder::new().prefix("paybridge-demo-").tempdir().context("no temporary folder")?;
        write_keys(folder.path()).context("the demonstration's keys cannot be written")?;
        let text = format!(
            "bridge_instance = \"demo\"\n\n[ingress]\nlisten = \"{ingress}\"\n\n[admin]\nlisten = \"{admin}\"\n\n\
             [kafka]\nbootstrap_servers = \"{}\"\ntopic_prefix = \"{}\"\npartitions = 3\nreplication_factor = 1\n\
             engine.properties.\"fetch.wait.max.ms\" = 10\n\n\
             [shutdown]\ndrain_delay_ms = 0\n{}",
            cluster.bootstrap_servers(),
            cluster.topic_prefix(),
            SOURCES
                .replace("{keys}", &folder.path().display().to_string())
                .replace("{api}", &api.to_string())
                .replace("{project}", PROJECT)
                .replace("{window}", &WINDOW_S.to_string())
                .replace("{margin}", &WINDOW_S.saturating_sub(DEADLINE_S).to_string()),
        );
        let config_file = folder.path().join("demo.toml");
        fs::write(&config_file, text).context("the demonstration's configuration cannot be written")?;
        let config = Config::load(Some(&config_file), [])?;
        Ok(Self { config, config_file, folder })
    }

    /// The private key of a provider whose source has only the public half.
    pub fn signing_key(&self, provider: &str) -> Option<PathBuf> {
        Some(self.folder.path().join(format!("{provider}-private.pem"))).filter(|path| path.exists())
    }

    /// What the provider believes the merchant's calls by.
    ///
    /// # Errors
    /// The key is not there any more.
    pub fn merchant_keys(&self) -> Result<Vec<PublicKey>, KeyFileError> {
        keys::public_keys(&FileReader::new(), &[self.folder.path().join("merchant-public.pem")])
    }
}

fn write_keys(folder: &Path) -> anyhow::Result<()> {
    for owner in ["smart-glocal", "merchant"] {
        let (private, public) = keys::generate_pem_pair()?;
        fs::write(folder.join(format!("{owner}-private.pem")), &*private)?;
        fs::write(folder.join(format!("{owner}-public.pem")), public)?;
    }
    fs::write(folder.join("undostres.key"), format!("base64:{}", random_base64(16)?))?;
    fs::write(folder.join("unipaas.key"), random_base64(32)?)?;
    for preset in ["checkout-com", "stripe"] {
        fs::write(folder.join(format!("{preset}.key")), random_base64(32)?)?;
    }
    fs::write(folder.join("standard-webhooks.key"), format!("whsec_{}", random_base64(32)?))?;
    Ok(())
}

fn random_base64(length: usize) -> anyhow::Result<String> {
    let mut bytes = vec![0; length];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(STANDARD.encode(bytes))
}
