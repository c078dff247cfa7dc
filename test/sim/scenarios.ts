/** All scenarios. */
import { clamd } from './clamd.ts';
import { echo } from './echo.ts';
import { hostname } from './hostname.ts';
import { http } from './http.ts';
import { lines } from './lines.ts';
import { policies } from './policies.ts';
import type { Scenario } from './scenario.ts';
import { services } from './services.ts';
import { shutdown } from './shutdown.ts';
import { udp } from './udp.ts';

export const SCENARIOS: readonly Scenario[] = [
  echo,
  lines,
  clamd,
  http,
  policies,
  services,
  shutdown,
  hostname,
  udp,
];
