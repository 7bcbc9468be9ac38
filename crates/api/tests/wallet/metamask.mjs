// The parts of MetaMask that speak to a node, unmodified: `run metamask http://127.0.0.1:8545/rpc` says how.
//
// Its extension can't be installed from a registry, but what it does with a network can: NetworkController adds the
// network and finds out what it can, TransactionController estimates, prices, numbers, signs, sends and follows a
// transaction. Only windows are missing: what a person would confirm is confirmed here.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { privateKeyToAccount, generatePrivateKey } from 'viem/accounts';

const require = createRequire(import.meta.url);
const { NetworkController, RpcEndpointType } = require('@metamask/network-controller');
const { TransactionController } = require('@metamask/transaction-controller');
const { Messenger } = require('@metamask/messenger');

const DEADLINE_MS = 60_000;
const url = process.env.POUW_RPC_URL;
const key = process.env.POUW_KEY;
const funder = privateKeyToAccount(key);
const bob = privateKeyToAccount(generatePrivateKey());
const from = funder.address.toLowerCase();

// The form "Add a custom network" asks the node for its chain id, and compares.
const asked = await fetch(url, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'eth_chainId', params: [] }),
});
const chainId = (await asked.json()).result;
assert.match(chainId, /^0x[1-9a-f][0-9a-f]*$/);

// Each part speaks to the others by a messenger of its own.
const lend = (action, handler, to) => {
  const [namespace] = action.split(':');
  const side = new Messenger({ namespace });
  side.registerActionHandler(action, handler);
  side.delegate({ actions: [action], messenger: to });
};
const networks = new Messenger({ namespace: 'NetworkController' });
lend('ErrorReportingService:captureException', (error) => { throw error; }, networks);
const network = new NetworkController({
  messenger: networks,
  infuraProjectId: 'none',
  getRpcServiceOptions: () => ({ fetch: globalThis.fetch, btoa: globalThis.btoa }),
  // As often as here the blocks come; the extension asks each 20 s.
  getBlockTrackerOptions: () => ({ pollingInterval: 500 }),
});
const added = network.addNetwork({
  chainId,
  name: 'pouw devnet',
  nativeCurrency: 'dFLUX',
  blockExplorerUrls: [],
  defaultRpcEndpointIndex: 0,
  rpcEndpoints: [{ type: RpcEndpointType.Custom, name: 'pouw', url }],
});
const { networkClientId } = added.rpcEndpoints[0];
await network.setActiveNetwork(networkClientId);
await network.lookupNetwork(networkClientId);
const meta = network.state.networksMetadata[networkClientId];
assert.equal(meta.status, 'available', JSON.stringify(meta));
assert.equal(meta.EIPS['1559'], true, 'fees are shown as base fee and tip');
const { provider, blockTracker } = network.getNetworkClientById(networkClientId);
const ask = (method, ...params) => provider.request({ method, params });
assert.equal(await ask('eth_chainId'), chainId);
// Its version of the network's number, which it calls net_version.
assert.equal(Number(await ask('net_version')), Number(chainId));
const before = BigInt(await ask('eth_getBalance', from, 'latest'));
assert(before > 0n);

const own = new Messenger({ namespace: 'TransactionController' });
networks.delegate({
  actions: ['NetworkController:findNetworkClientIdByChainId', 'NetworkController:getNetworkClientById'],
  events: ['NetworkController:stateChange'],
  messenger: own,
});
const account = { id: 'one', address: from, type: 'eip155:eoa', options: {}, methods: [], metadata: {} };
lend('AccountsController:getSelectedAccount', () => account, own);
lend('AccountsController:getState', () => ({ internalAccounts: { accounts: { one: account }, selectedAccount: 'one' } }), own);
// What a person would press.
lend('ApprovalController:addRequest', async () => ({ resultCallbacks: { success() {}, error(why) { throw why; } } }), own);
lend('RemoteFeatureFlagController:getState', () => ({ remoteFeatureFlags: {}, cacheTimestamp: 0 }), own);

const transactions = new TransactionController({
  disableHistory: true,
  disableSendFlowHistory: true,
  disableSwaps: true,
  getCurrentNetworkEIP1559Compatibility: async () => (await network.getEIP1559Compatibility(networkClientId)) ?? false,
  getCurrentAccountEIP1559Compatibility: async () => true,
  getNetworkClientRegistry: () => network.getNetworkClientRegistry(),
  getNetworkState: () => network.state,
  isSimulationEnabled: () => false,
  isFirstTimeInteractionEnabled: () => false,
  messenger: own,
  pendingTransactions: { isResubmitEnabled: () => false },
  sign: async (transaction) => transaction.sign(Buffer.from(key.slice(2), 'hex')),
  transactionHistoryLimit: 40,
  hooks: {},
});

// One transfer, from the form to its confirmation, with everything left for the wallet to find out.
const finished = new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`not confirmed within ${DEADLINE_MS} ms`)), DEADLINE_MS);
  own.subscribe('TransactionController:transactionConfirmed', (one) => { clearTimeout(timer); resolve(one); });
  own.subscribe('TransactionController:transactionFailed', ({ error }) => { clearTimeout(timer); reject(new Error(error.message ?? error)); });
});
const value = 10n ** 18n;
const { transactionMeta, result } = await transactions.addTransaction(
  { from, to: bob.address.toLowerCase(), value: `0x${value.toString(16)}` },
  { networkClientId, origin: 'metamask' },
);
const hash = await result;
const confirmed = await finished;
assert.equal(confirmed.hash, hash);
assert.equal(confirmed.id, transactionMeta.id);
assert.equal(confirmed.txReceipt.status, '0x1');
const { gas, maxFeePerGas, maxPriorityFeePerGas, type } = confirmed.txParams;
assert.equal(type, '0x2');
assert.equal(BigInt(gas), 21_000n, 'a transfer is known to be one');
assert(BigInt(maxFeePerGas) >= BigInt(maxPriorityFeePerGas) && BigInt(maxPriorityFeePerGas) > 0n);
assert.equal(BigInt(await ask('eth_getBalance', bob.address, 'latest')), value);
const paid = BigInt(confirmed.txReceipt.gasUsed) * BigInt(confirmed.txReceipt.effectiveGasPrice);
assert(BigInt(await ask('eth_getBalance', from, 'latest')) <= before - value - paid);

// What the node refuses is told as the node says it, and is no transaction.
const poor = privateKeyToAccount(generatePrivateKey()).address.toLowerCase();
await assert.rejects(ask('eth_estimateGas', { from: poor, to: from, value: '0x1' }), /insufficient|funds|balance/i);

transactions.destroy();
await blockTracker.destroy?.();
await network.destroy();
console.log('ok');
process.exit(0);
