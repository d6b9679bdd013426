"""A ``VecEnv`` without what the environments of tests do not need; they add spaces, ``reset`` and ``step_wait``."""

from stable_baselines3.common.vec_env import VecEnv


class BareVecEnv(VecEnv):
    def close(self):
        pass

    def get_attr(self, attr_name, indices=None):
        return [getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name, value, indices=None):
        setattr(self, attr_name, value)

    def env_method(self, method_name, *method_args, indices=None, **method_kwargs):
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False] * self.num_envs
