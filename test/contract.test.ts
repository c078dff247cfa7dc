/**
 * The contract of transports, over every body and kind of wire.
 */
import { inCampaign } from './campaign.ts';
import * as chance from './contract/chance.ts';
import * as closing from './contract/closing.ts';
import * as connecting from './contract/connecting.ts';
import * as connection from './contract/connection.ts';
import { KINDS } from './contract/kinds.ts';
import * as listening from './contract/listening.ts';
import * as producing from './contract/producing.ts';
import * as securing from './contract/securing.ts';
import * as states from './contract/states.ts';
import * as switching from './contract/switching.ts';
import { TLS } from './contract/tls-kind.ts';
import t from './fixture.ts';

/** Only these, if it is said: `PLAIT_KINDS=sim,tcp`. */
const only = process.env['PLAIT_KINDS']?.split(',');

/** Another kind differs from these by its addresses alone: what comes after the birth is shown in a campaign only. */
const TWINS: readonly string[] = ['tcp6', 'sim-unix'];

for (const kind of [...KINDS, TLS]) {
  if (only?.includes(kind.name) === false) continue;
  // A campaign plays the random rule for longer; the others are the same each time.
  if (inCampaign) chance.contract(t, kind);
  const isTwin = TWINS.includes(kind.name);
  if (inCampaign && !isTwin) continue;
  const births = kind.unborn === true ? [] : [listening, connecting, securing];
  const first = isTwin && inCampaign ? [] : [connection, ...births];
  const more = isTwin && !inCampaign ? [] : [closing, producing, states, switching];
  for (const { contract } of [...first, ...more]) contract(t, kind);
  if (!inCampaign && !isTwin) chance.contract(t, kind);
}
