// What managed clusters do: refuses topics, new ones and altered ones, with settings that the operator keeps for himself.
// Their names stand in the broker's property `refused.topic.settings`, joined by commas.

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.server.policy.AlterConfigPolicy;
import org.apache.kafka.server.policy.CreateTopicPolicy;

public final class RefuseSettings {
    private RefuseSettings() {}

    private static List<String> refused(Map<String, ?> properties) {
        return Arrays.asList(String.valueOf(properties.get("refused.topic.settings")).split(","));
    }

    private static void check(List<String> refused, Map<String, String> settings) {
        for (String name : settings.keySet()) {
            if (refused.contains(name)) {
                throw new PolicyViolationException(name + " is not yours to set");
            }
        }
    }

    /** For `create.topic.policy.class.name`. */
    public static final class OnCreate implements CreateTopicPolicy {
        private List<String> refused;

        @Override
        public void configure(Map<String, ?> properties) {
            refused = refused(properties);
        }

        @Override
        public void validate(RequestMetadata request) {
            check(refused, request.configs());
        }

        @Override
        public void close() {}
    }

    /** For `alter.config.policy.class.name`. */
    public static final class OnAlter implements AlterConfigPolicy {
        private List<String> refused;

        @Override
        public void configure(Map<String, ?> properties) {
            refused = refused(properties);
        }

        @Override
        public void validate(RequestMetadata request) {
            check(refused, request.configs());
        }

        @Override
        public void close() {}
    }
}
