/** Who is logged in. */
import { RequestRefused, unwrap, type Schemas } from "@netra-apex/client";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { netra } from "./netra";

export type User = Schemas["UserShape"];
const KEY = ["me"] as const;

/** The user, null where nobody is logged in, undefined until it is known. */
export function useUser(): { user: User | null | undefined; error: Error | null } {
  const { data, error } = useQuery({ queryKey: KEY, queryFn: whoAmI, staleTime: Infinity });
  return { user: data, error };
}

/** Logs in and out; what was known of another user is forgotten. */
export function useLogin(): { login: (name: string, password: string) => Promise<void>; logout: () => Promise<void> } {
  const queries = useQueryClient();
  return {
    login: async (name, password) => {
      await netra.login(name, password);
      await queries.resetQueries();
    },
    logout: async () => {
      await unwrap(netra.api.POST("/api/auth/logout"));
      await queries.resetQueries();
    },
  };
}

async function whoAmI(): Promise<User | null> {
  try {
    return await unwrap(netra.api.GET("/api/auth/me"));
  } catch (error) {
    if (error instanceof RequestRefused && error.status === 401) return renewed();
    throw error;
  }
}

/** An expired session may have a refresh cookie. */
async function renewed(): Promise<User | null> {
  const { data } = await netra.api.POST("/api/auth/refresh");
  return data?.user ?? null;
}
