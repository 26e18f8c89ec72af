//! One component: its instances, their reuse as under Spin, and what each is given.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::time::Sleep;
use wasmtime::component::{Component, GuestTaskId, HasSelf, Linker, ResourceTable};
use wasmtime::{Engine, Result, Store, StoreContextMut};
use wasmtime_wasi::{FsPerms, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, ProxyHandler, ProxyPre, Request, Response, ShouldAccept,
    WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView, p2, p3};

use crate::bindings::{spin, wasi};
use crate::headers::{Forbidden, Inbound};
use crate::outbound::Outbound;
use crate::stats::Stats;
use crate::stdio::{Lines, Output};
use crate::{key_value, variables};

/// How long an instance lives and how much it does at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reuse {
    /// Requests in the instance's whole life.
    pub count: usize,
    /// Requests at the same time.
    pub concurrent_count: usize,
    /// How long an instance without requests stays.
    pub idle_timeout: Duration,
}

impl Default for Reuse {
    /// Spin's defaults.
    fn default() -> Self {
        Self {
            count: 128,
            concurrent_count: 16,
            idle_timeout: Duration::from_secs(1),
        }
    }
}

/// Says that the process ends: instances that are dropped from now on did not fail.
pub fn ending() {
    ENDING.store(true, Ordering::Relaxed);
}

static ENDING: AtomicBool = AtomicBool::new(false);

/// Everything the instances of one component are given.
pub struct Grants {
    /// The component's id.
    pub id: Arc<str>,
    /// Its variables.
    pub variables: variables::Granted,
    /// Its key-value stores.
    pub key_value: key_value::Granted,
    /// Its way out.
    pub outbound: Outbound,
    /// Its environment variables.
    pub environment: BTreeMap<String, String>,
    /// How far its wall clock runs ahead.
    pub clock_ahead: Duration,
    /// What happens to what it prints.
    pub output: Output,
    /// A folder with its files, read-only at the guest's root.
    pub files: Option<PathBuf>,
}

/// A component that answers requests.
pub struct Service {
    handler: ProxyHandler<Instances>,
    stats: Arc<Stats>,
}

impl Service {
    /// Links `component` with what it is granted.
    ///
    /// # Errors
    ///
    /// The component imports what devhost does not have, or exports no HTTP handler.
    pub fn new(
        engine: &Engine,
        component: &Component,
        grants: Grants,
        reuse: Reuse,
        stats: Arc<Stats>,
    ) -> Result<Self> {
        let pre = linker(engine)?.instantiate_pre(component)?;
        let pre = match p3::bindings::ServicePre::new(pre.clone()) {
            Ok(service) => ProxyPre::P3(service),
            Err(_) => ProxyPre::P2(p2::bindings::ProxyPre::new(pre)?),
        };
        let instances = Instances {
            engine: engine.clone(),
            pre,
            grants,
            reuse,
            stats: Arc::clone(&stats),
        };
        Ok(Self {
            handler: ProxyHandler::new(instances),
            stats,
        })
    }

    /// The component's answer to `request`.
    ///
    /// # Errors
    ///
    /// The instance could not be made, trapped, or answered with an error.
    pub async fn call(&self, request: Request) -> Result<Response> {
        let start = Instant::now();
        let first = Arc::new(AtomicBool::new(false));
        self.stats.request();
        let response = self.handler.handle(Arc::clone(&first), request).await;
        if first.load(Ordering::Relaxed) {
            self.stats.first_request(start.elapsed());
        }
        response
    }
}

fn linker(engine: &Engine) -> Result<Linker<Data>> {
    let mut linker: Linker<Data> = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    p2::add_only_http_to_linker_async(&mut linker)?;
    p3::add_to_linker(&mut linker)?;
    spin::variables::variables::add_to_linker::<_, HasSelf<variables::Granted>>(
        &mut linker,
        |data| &mut data.variables,
    )?;
    spin::key_value::key_value::add_to_linker::<_, key_value::KeyValue>(&mut linker, Data::stores)?;
    wasi::keyvalue::store::add_to_linker::<_, key_value::KeyValue>(&mut linker, Data::stores)?;
    wasi::keyvalue::atomics::add_to_linker::<_, key_value::KeyValue>(&mut linker, Data::stores)?;
    Ok(linker)
}

/// The state of one instance.
struct Data {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    outbound: Outbound,
    inbound: Inbound,
    variables: variables::Granted,
    key_value: key_value::Granted,
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Data {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.outbound,
        }
    }
}

impl Data {
    /// The view for key-value calls.
    fn stores(&mut self) -> key_value::View<'_> {
        key_value::View {
            granted: &self.key_value,
            table: &mut self.table,
        }
    }

    /// The view for requests from outside.
    fn inbound(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.inbound,
        }
    }
}

impl AsMut<variables::Granted> for Data {
    fn as_mut(&mut self) -> &mut variables::Granted {
        &mut self.variables
    }
}

/// A wall clock that runs ahead of the machine's: what is old by then can be seen now.
struct Ahead(Duration);

impl HostWallClock for Ahead {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.unwrap_or_default().saturating_add(self.0)
    }
}

struct Instances {
    engine: Engine,
    pre: ProxyPre<Data>,
    grants: Grants,
    reuse: Reuse,
    stats: Arc<Stats>,
}

impl HandlerState for Instances {
    type StoreData = Data;
    type WorkerExpiration = IdleTimeout;
    type WorkerState = Worker;

    async fn instantiate(&self) -> Result<Instance<Data, IdleTimeout, Worker>> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.wall_clock(Ahead(self.grants.clock_ahead));
        if self.grants.output == Output::Shown {
            wasi.stdout(Lines::new(Arc::clone(&self.grants.id)));
            wasi.stderr(Lines::new(Arc::clone(&self.grants.id)));
        }
        for (name, value) in &self.grants.environment {
            wasi.env(name, value);
        }
        if let Some(files) = &self.grants.files {
            wasi.preopened_dir(files, "/", FsPerms::ReadOnly)?;
        }
        let data = Data {
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            table: ResourceTable::new(),
            outbound: Outbound {
                forbidden: Forbidden::default(),
                ..self.grants.outbound.clone()
            },
            inbound: Inbound,
            variables: self.grants.variables.clone(),
            key_value: self.grants.key_value.clone(),
        };
        let mut store = Store::new(&self.engine, data);
        // Refused where nothing is counted.
        let _ = store.set_fuel(FUEL);
        let proxy = self.pre.instantiate_async(&mut store).await?;
        self.stats.instance();
        Ok(Instance {
            store,
            proxy,
            view: Data::inbound,
            expiration: IdleTimeout {
                limit: self.reuse.idle_timeout,
                sleep: Box::pin(tokio::time::sleep(self.reuse.idle_timeout)),
            },
            state: Worker {
                id: Arc::clone(&self.grants.id),
                reuse: self.reuse,
                stats: Arc::clone(&self.stats),
                fresh: AtomicBool::new(true),
                request: AtomicUsize::new(NO_REQUEST),
                fuel: AtomicU64::new(FUEL),
            },
        })
    }
}

struct Worker {
    id: Arc<str>,
    reuse: Reuse,
    stats: Arc<Stats>,
    fresh: AtomicBool,
    /// The place among those counted of the request that began last.
    request: AtomicUsize,
    /// What was left when it began.
    fuel: AtomicU64,
}

impl Worker {
    /// What was executed since a request began was for it, where they come one by one.
    fn count(&self, fuel: u64, next: usize) {
        let ended = self.request.swap(next, Ordering::Relaxed);
        if ended != NO_REQUEST {
            let before = self.fuel.swap(fuel, Ordering::Relaxed);
            self.stats.instructions(ended, before.saturating_sub(fuel));
        }
    }
}

impl WorkerState for Worker {
    type StoreData = Data;
    /// Set when the request is its instance's first.
    type RequestData = Arc<AtomicBool>;

    fn should_accept_request(&self, concurrent_count: usize, total_count: usize) -> ShouldAccept {
        if total_count >= self.reuse.count {
            ShouldAccept::Never
        } else if concurrent_count >= self.reuse.concurrent_count {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        store: StoreContextMut<'_, Data>,
        first: Arc<AtomicBool>,
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        first.store(self.fresh.swap(false, Ordering::Relaxed), Ordering::Relaxed);
        if let Ok(fuel) = store.get_fuel() {
            self.count(fuel, self.stats.counted());
        }
        // Like Spin's default, no request ever expires.
        Box::pin(std::future::pending())
    }

    fn drop(&self, store: Store<Data>, result: Result<()>) {
        if let Err(error) = result
            && !ENDING.load(Ordering::Relaxed)
        {
            self.stats.trap();
            eprintln!("{}: the instance failed: {error:?}", self.id);
        }
        if let Ok(fuel) = store.get_fuel() {
            self.count(fuel, NO_REQUEST);
        }
        drop(store);
    }
}

/// No place among the requests that are counted.
const NO_REQUEST: usize = usize::MAX;

/// More than any instance burns.
const FUEL: u64 = u64::MAX;

/// Ends an instance that has had no request for a while.
struct IdleTimeout {
    limit: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl WorkerExpiration for IdleTimeout {
    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        status: WorkerStatus,
        start: Instant,
    ) -> Poll<()> {
        let Some(deadline) = start.checked_add(self.limit) else {
            return Poll::Pending;
        };
        if status != WorkerStatus::Idle {
            return Poll::Pending;
        }
        let deadline = tokio::time::Instant::from_std(deadline);
        if self.sleep.deadline() != deadline {
            self.sleep.as_mut().reset(deadline);
        }
        self.sleep.as_mut().poll(context)
    }
}
